"""What is in a pack that the service generates: the weights of its context, the same bytes in any company."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack
from mnet.toolchain.cloud.generation import ROWS, PackGenerator, readable_context
from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import Part
from mnet.toolchain.tasks.classification import Classification, ClassificationSettings
from mnet.toolchain.training.run import load_run


def test_a_bundle_of_another_checkpoint_is_the_users_mistake(tiny_run: Path, tiny_bundle: Path) -> None:
    other = replace(load_run(tiny_run), fingerprint="0" * 64)
    with pytest.raises(UserError, match="export the run again"):
        PackGenerator(other, Bundle.load(tiny_bundle))


@pytest.mark.parametrize("value", [3e38, -1e6, 65_505.0])
def test_a_number_that_no_phone_computes_is_refused_at_once(value: float) -> None:
    facts = {"classes": ["a", "b"], "image_size": [8, 8]}
    model, encoder = (Part.model_validate(part) for part in ({"name": "cnn"}, {"name": "set"}))
    task = Classification.create(ClassificationSettings(), facts, model, encoder)
    sample = [0.5] * (task.features + 2)
    assert readable_context(task, [sample]).shape == (1, task.settings.context, len(sample))
    with pytest.raises(ValueError, match="beyond 65,504"):
        readable_context(task, [sample, [value, *sample[1:]]])


def test_weights_that_are_not_finite_are_never_packed(tiny_run: Path, tiny_bundle: Path) -> None:
    run = load_run(tiny_run)
    generator = PackGenerator(run, Bundle.load(tiny_bundle))
    generator.packs([[1, 2, 3]], [1])
    with torch.no_grad():
        next(run.metanetwork.generator.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        generator.packs([[1, 2, 3]], [1])


def test_a_pack_is_the_same_bytes_in_any_company(tiny_run: Path, tiny_bundle: Path) -> None:
    run, bundle = load_run(tiny_run), Bundle.load(tiny_bundle)
    generator = PackGenerator(run, bundle)
    contexts = [[n % 300 + 1 for n in range(turn, turn + 1 + turn % 40)] for turn in range(2 * ROWS + 3)]
    together = generator.packs(contexts, range(1, len(contexts) + 1))
    alone = [generator.packs([samples], [n + 1])[0] for n, samples in enumerate(contexts)]
    backwards = generator.packs(contexts[::-1], range(len(contexts), 0, -1))[::-1]
    assert together == alone == backwards
    assert len(set(together)) == len(contexts)


def test_the_probe_is_the_output_of_the_very_weights_in_the_pack(tiny_run: Path, tiny_bundle: Path) -> None:
    run, bundle = load_run(tiny_run), Bundle.load(tiny_bundle)
    for data in PackGenerator(run, bundle).packs([[1, 2, 3], [250, 40]], [1, 2]):
        pack = read_pack(data, bundle.manifest)
        output = functional_call(run.metanetwork.device_model, pack.parameters, bundle.golden.inputs[0])
        assert pack.probe == pytest.approx(bundle.probe([output]), rel=1e-5, abs=1e-6)
