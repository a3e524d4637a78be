import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.lowering.spec import ExportSpec
from mnet.export.targets import target_names
from mnet.export.verify import verify_bundle
from tests.export.ranker import Ranker, ranker_spec


def refuse(spec: ExportSpec, out: Path, match: str, target: str = "android") -> None:
    """The export must fail with this message and leave nothing behind, not even hidden."""
    with pytest.raises(BundleError, match=match):
        export_bundle(spec, target, out)
    assert not out.exists()
    assert list(out.parent.iterdir()) == []


def test_an_unknown_target_lists_those_known(model: Ranker, tmp_path: Path) -> None:
    match = f"unknown target 'toaster'; known targets: {', '.join(target_names())}"
    refuse(ranker_spec(model), tmp_path / "b", match, "toaster")


def test_a_missing_extra_says_what_to_install(
    model: Ranker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refuse(ranker_spec(model), tmp_path / "b", r'pip install "mnet-mobile\[executorch\]"')


@pytest.mark.parametrize(
    ("generated", "match"),
    [
        ((), "nothing to swap"),
        (("head.weight",), "no parameter 'head.weight'; it has items.weight, head_in.weight"),
        (("head_in.bias", "head_in.bias"), "named twice"),
    ],
)
def test_what_cannot_be_generated_is_refused(
    model: Ranker, tmp_path: Path, generated: tuple[str, ...], match: str
) -> None:
    with pytest.raises(BundleError, match=match):
        export_bundle(ranker_spec(model, generated), "android", tmp_path / "b")


def test_a_shared_parameter_is_refused() -> None:
    model = Ranker()
    model.head_out.weight = model.head_in.weight
    with pytest.raises(BundleError, match=r"head_in.weight is shared with head_out.weight"):
        ranker_spec(model)


class Ignoring(Ranker):
    """Never calls one of its generated layers."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        return (self.items(candidates) @ self.head_in(self.items(history).mean(1)).unsqueeze(-1)).squeeze(-1)


class Reaching(Ranker):
    """Uses a generated weight in another way than by calling its Linear."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        return super().forward(history, candidates) * self.head_in.weight.mean()


class Leaking(Ranker):
    """Holds a generated weight by a second, unregistered reference, which no swap can reach."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.head_in.weight]

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        scores = super().forward(history, candidates)
        return scores + functional.linear(self.items(history).mean(1), self.hidden[0]).mean()


class Branching(Ranker):
    """Decides by a value, which a traced program cannot."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        scores = super().forward(history, candidates)
        return scores if scores.sum() > 0 else -scores


class Selecting(Ranker):
    """Gives fewer scores for some inputs than for others."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        scores = super().forward(history, candidates)
        return scores[scores > 0]


class SummingUp(Ranker):
    """Selects in between, and still gives as many scores each time."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        scores = super().forward(history, candidates)
        return scores + scores[scores > 0].sum()


class Talking(Ranker):
    """Gives scores that no runtime here has a type for."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        return super().forward(history, candidates).double()


class Remembering(Ranker):
    """Writes what it saw into a buffer, to use it at the next call."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 16))

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        self.seen.add_(self.items(history).mean(1))
        hidden = self.head_out(torch.relu(self.head_in(self.seen)))
        return (self.items(candidates) @ hidden.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (Ignoring, "head_out.weight, moved alone, changes the outputs by only 0.0e"),
        (Reaching, "head_in.weight is not taken by XNNPACK"),
        (Leaking, "head_in.weight is also a constant of the program"),
        (Branching, "torch.export fails on this model: "),
        (
            Selecting,
            "the shape of output scores depends on the values of the inputs.*mask what is not wanted",
        ),
        (SummingUp, "the shape of .* depends on the values of the inputs"),
        (Remembering, "writes into its buffer seen; take such a state as an input"),
        (Talking, "output scores is torch.float64; it must be one of bool, uint8"),
    ],
)
def test_a_model_whose_weights_could_go_stale_is_refused(
    kind: type[Ranker], match: str, tmp_path: Path
) -> None:
    refuse(ranker_spec(kind()), tmp_path / "b", match)


@pytest.mark.parametrize(
    ("target", "generated"),
    [
        ("android", ("head_in.weight",)),
        ("android", ("head_in.bias",)),
        *((target, ("head_out.bias", "head_in.weight")) for target in target_names()),
    ],
)
def test_any_part_of_a_linear_can_be_generated(
    model: Ranker, tmp_path: Path, target: str, generated: tuple[str, ...]
) -> None:
    found = verify_bundle(export_bundle(ranker_spec(model, generated), target, tmp_path / "b"))
    assert found.slots == len(generated)
    assert found.max_error < found.tolerance
    assert found.output_change > 1e-2


class Unusual(Ranker):
    """Uses an operation that coremltools does not know."""

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        return super().forward(history, candidates) * (history ^ 3).float().mean()


def test_an_op_that_a_target_lacks_is_named_with_the_way_out(tmp_path: Path) -> None:
    match = "coremltools fails on this model: .*xor.*write that part with other operations"
    refuse(ranker_spec(Unusual()), tmp_path / "b", match, "ios")


def test_a_parameter_that_the_self_test_could_not_see_is_refused_by_name(tmp_path: Path) -> None:
    class Deaf(Ranker):
        """Hears its second generated layer by less than float32 resolves."""

        def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
            pooled = self.head_in(self.items(history).mean(1))
            hidden = pooled + 1e-12 * self.head_out(pooled)
            return (self.items(candidates) @ hidden.unsqueeze(-1)).squeeze(-1)

    refuse(
        ranker_spec(Deaf()),
        tmp_path / "b",
        r"parameter head_out\.\w+, moved alone, changes the outputs by only",
    )


def test_small_outputs_are_judged_by_their_own_size(tmp_path: Path) -> None:
    class Quiet(Ranker):
        def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
            return super().forward(history, candidates) * 1e-7

    bundle = export_bundle(ranker_spec(Quiet()), "android", tmp_path / "b")
    assert bundle.manifest.outputs[0].scale < 1e-6
    assert verify_bundle(bundle).max_error < bundle.manifest.golden.tolerance


def test_examples_must_agree(model: Ranker) -> None:
    history, candidates = torch.zeros(1, 5, dtype=torch.int64), torch.zeros(1, 20, dtype=torch.int64)

    def spec(*inputs: tuple[Tensor, ...]) -> ExportSpec:
        return ExportSpec("m", model, ("head_in.bias",), inputs, ("history", "candidates"), ("scores",))

    with pytest.raises(BundleError, match="at least one example"):
        spec()
    with pytest.raises(BundleError, match="1 inputs for the names"):
        spec((history,))
    with pytest.raises(BundleError, match=r"input history is torch.float64; it must be one of bool"):
        spec((history.double(), candidates))
    with pytest.raises(BundleError, match="candidates has not the same shape"):
        spec((history, candidates), (history, candidates[:, :3]))


def test_the_model_itself_is_left_as_it_was(model: Ranker, bundle: Bundle) -> None:
    assert torch.equal(model.head_in.weight, torch.eye(16))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_foreign_folder_is_not_overwritten(model: Ranker, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="something other than a bundle"):
        export_bundle(ranker_spec(model), "android", tmp_path)
    with pytest.raises(BundleError, match="is a file"):
        export_bundle(ranker_spec(model), "android", tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_older_bundle_is_replaced_as_a_whole(model: Ranker, tmp_path: Path) -> None:
    out = tmp_path / "b"
    out.mkdir()
    (out / "manifest.json").write_text("of an older bundle")
    (out / "model.tflite").write_text("of another target")
    stages: list[str] = []
    export_bundle(ranker_spec(model, ("head_in.bias",)), "android", out, stages.append)
    assert Bundle.load(out).manifest.slots[0].parameter == "head_in.bias"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert [stage.split(":")[0].split(" ")[0] for stage in stages] == [
        *("running", "weights", "lowering", "lowering", "writing", "verifying", "portable")
    ]
