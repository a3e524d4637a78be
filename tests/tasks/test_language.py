"""Texts as contexts, windows and prompts: what is read, what is predicted, and that no device is in two parts."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnet.device_models.causal_transformer import CausalTransformer, CausalTransformerConfig
from mnet.toolchain.data.texts import Texts
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import under
from mnet.toolchain.metanetwork.factors import with_factors
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks.language import Language, LanguageSettings
from mnet.toolchain.tasks.text_windows import TextBatch, as_bytes
from tests.tasks.texts import SMALL, texts


@pytest.fixture(scope="module")
def data() -> Texts:
    return texts()


@pytest.fixture
def task() -> Language:
    settings = {name: value for name, value in SMALL.items() if name != "name"}
    return Language(LanguageSettings.model_validate(settings))


@pytest.fixture
def model(task: Language) -> nn.Module:
    torch.manual_seed(0)
    part = Part.model_validate({"name": "causal-transformer", "width": 16, "blocks": 2, "heads": 2})
    return task.device_model(part).eval()


def text(row: Tensor) -> bytes:
    return bytes(row.tolist()).lstrip(b"\0")


def test_a_window_follows_its_prompt_and_its_context(task: Language, data: Texts) -> None:
    splits = task.splits(data)
    batches = list(splits.test(7))
    for batch in batches:
        for context, prompts, windows, device in zip(*batch, strict=True):
            written = as_bytes(list(data.texts[device])).tobytes()
            for k, (prompt, window) in enumerate(zip(prompts, windows, strict=True)):
                at = written.index(text(context) + text(windows[0])) + 48 + 12 * k
                assert bytes(window.tolist()) == written[at : at + 13]
                assert text(prompt) == written[at - 12 : at]
    assert torch.equal(
        torch.cat([task.devices(batch) for batch in batches]).unique(), torch.tensor(splits.tested)
    )


def test_no_device_is_in_two_parts_and_training_covers_all_that_others_wrote(
    task: Language, data: Texts
) -> None:
    splits = task.splits(data)
    parts = [set(splits.trained), set(splits.validated.tolist()), set(splits.tested.tolist())]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(data.devices)
    seen, lengths, empty = set(), set(), 0
    for epoch in range(4):
        for batch in splits.training(4, epoch):
            assert batch.prompt.shape[-1] == 0
            seen |= set(batch.device.tolist())
            lengths.add(batch.text.shape[-1] - 1)
            empty += int((batch.context == 0).all(1).sum())
    assert (seen, lengths) == (parts[0], {12, 24}), "windows are short, or as long as prompt and window"
    assert empty, "some packs are trained on no context at all"
    again = [batch.text for batch in splits.training(4, 2)]
    assert all(torch.equal(a, b.text) for a, b in zip(again, splits.training(4, 2), strict=True))


def test_the_model_is_causal_and_padding_and_length_make_no_difference(
    task: Language, model: nn.Module
) -> None:
    own = torch.randint(97, 123, (3, 12))
    logits = model(own)
    assert logits.shape == (3, 12, 256)
    changed = own.clone()
    changed[:, 8] = 65
    torch.testing.assert_close(model(changed)[:, :8], logits[:, :8])
    assert (model(changed)[:, 8:] - logits[:, 8:]).abs().max() > 1e-3
    padded = model(torch.cat([torch.zeros(3, 9, dtype=torch.int64), own], 1))
    torch.testing.assert_close(padded[:, 9:], logits, atol=1e-5, rtol=1e-4)
    (example,) = task.example_inputs(torch.Generator().manual_seed(0))
    assert model(example).shape == (1, 12, 256)
    with pytest.raises(UserError, match="width"):
        task.device_model(Part.model_validate({"name": "causal-transformer", "width": "wide"}))


def test_what_is_predicted_is_the_next_byte(task: Language, data: Texts, model: nn.Module) -> None:
    batch = next(iter(task.splits(data).test(5)))
    logits = task.outputs(model, batch)
    targets = task.targets(batch)
    assert torch.equal(targets.view(5, 2, 12), batch.text[..., 1:])
    bits = task.scores(logits, batch)["bits"]
    assert bits.mean().item() == pytest.approx(task.loss(logits, batch).item() / np.log(2), rel=1e-4)
    assert len(bits) == len(task.owners(batch)) == 5 * 2 * 12
    alone = task.device_outputs(lambda pack, inputs: [model(*inputs)], batch)
    torch.testing.assert_close(alone, logits, atol=1e-5, rtol=1e-4)


def test_a_prompt_is_a_longer_window(task: Language, data: Texts, model: nn.Module) -> None:
    batch = next(iter(task.splits(data).test(5)))
    prompt = task.on_device(["prompt"])
    trials = prompt.around("prompt", prompt.start)
    assert trials == [{"bytes": 4}, {"bytes": 8}, {"bytes": 12}]
    found = list(prompt.outputs(model, None, batch, trials))
    longest = model(torch.cat([batch.prompt, batch.text[..., :-1]], -1).flatten(0, 1))[:, 12:]
    torch.testing.assert_close(found[-1], longest.flatten(0, 1))
    assert all(each.shape == task.outputs(model, batch).shape for each in found)
    assert not torch.allclose(found[0], found[-1], atol=1e-3)
    for steps, settings in (
        (["tent"], task.settings),
        (["prompt"], task.settings.model_copy(update={"prompt": 0})),
    ):
        with pytest.raises(UserError, match="knows prompt alone"):
            Language(settings).on_device(steps)


def test_fine_tuning_reads_the_context_alone_and_each_pack_its_own(
    task: Language, data: Texts, model: nn.Module
) -> None:
    batch = next(iter(task.splits(data).test(3)))
    names = with_factors(model, tuple(model.generated), 1)
    assert len(names) == 8
    weights = {
        name: model.get_parameter(name).detach().expand(3, *model.get_parameter(name).shape) for name in names
    }
    weights = {name: value + 0.2 * torch.randn(value.shape) for name, value in weights.items()}
    losses = task.own_loss(under(model, weights), batch)
    assert losses.shape == (3,)
    unread = batch._replace(text=torch.zeros_like(batch.text), prompt=torch.zeros_like(batch.prompt))
    assert torch.equal(losses, task.own_loss(under(model, weights), unread))
    # By hand: of 48 bytes the last three windows of 12, each byte told from those before it in its window.
    pack = {name: value[1:2] for name, value in weights.items()}
    own = batch.context[1, -37:]
    by_hand = [
        nn.functional.cross_entropy(
            under(model, pack)(own[12 * k : 12 * k + 12][None])[0], own[12 * k + 1 : 12 * k + 13]
        )
        for k in range(3)
    ]
    torch.testing.assert_close(losses[1], torch.stack(by_hand).mean())
    short = batch._replace(
        context=torch.cat([torch.zeros(3, 40, dtype=torch.int64), batch.context[:, 40:]], 1)
    )
    assert task.own_loss(model, short).isfinite().all(), "padding counts for nothing"
    assert not task.own_loss(model, batch._replace(context=torch.zeros(3, 48, dtype=torch.int64))).any()


@pytest.mark.parametrize(
    "samples", [[1, 2], [""], ["a\0b"], [["a"]], [{"text": "a"}], ["\ud800"], [None], ["fine", b"bytes"]]
)
def test_what_is_no_text_is_refused(task: Language, samples: list[Any]) -> None:
    with pytest.raises(ValueError, match="a sample is"):
        task.context(samples)


def test_a_context_is_the_end_of_the_last_texts(task: Language) -> None:
    context = task.context(["x" * 100, "Größe", "last"])
    assert context.shape == (1, 48)
    assert text(context[0]) == ("x" * 34 + "\nGröße\nlast\n").encode()
    assert text(task.context(["a"])[0]) == b"a\n"


def test_a_phone_is_asked_the_end_of_each_text(task: Language, data: Texts, model: nn.Module) -> None:
    timelines = task.timelines(data)
    assert {line.user for line in timelines} == set(task.splits(data).tested.tolist())
    line = timelines[0]
    asked = task.question(line, 1)
    written = as_bytes(list(line.items[: line.start + 2]))
    assert asked.inputs[0].tolist() == [written[-13:-1].tolist()]
    bits = asked.value([model(*asked.inputs)])
    assert 5 < bits < 12
    uploaded = task.uploaded(line.items[: line.start])
    assert len("\n".join(uploaded).encode()) >= 47
    assert torch.equal(task.context(uploaded), task.context(line.items[: line.start]))
    assert task.context(task.example_samples(3, np.random.default_rng(0))).any()


def test_too_little_text_is_refused(task: Language) -> None:
    with pytest.raises(UserError, match=r"2 devices wrote the 73 bytes .* at least 3 are needed"):
        task.splits(Texts.of("few", [("a", "x" * 90), ("b", "y" * 90), ("c", "short")]))


def test_a_batch_is_what_it_says(task: Language, data: Texts) -> None:
    batch = next(iter(task.splits(data).validation(64)))
    assert isinstance(batch, TextBatch)
    assert batch.context.shape[1:] == (48,)
    assert (batch.prompt.shape[1:], batch.text.shape[1:]) == ((2, 12), (2, 13))
    assert (batch.context != 0).all(), "of a whole context each"


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="heads 3"):
        CausalTransformer(CausalTransformerConfig(length=8, width=16, heads=3))
