"""`mnet export package.module:build`: a user's module, weights and examples, as the command line names them."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import mnet as public
from mnet.toolchain.errors import UserError
from mnet.toolchain.own_module import input_shape, load_examples, load_module, read_state
from tests.export.strangers import MobileNet
from tests.mnet_command import Mnet

BUILD = "tests.export.strangers:MobileNet"


def example() -> dict[str, Tensor]:
    return {"image": torch.rand(1, 3, 16, 16)}


def several() -> list[tuple[Tensor]]:
    return [(torch.rand(1, 3, 16, 16),), (torch.rand(1, 3, 16, 16),)]


def broken() -> nn.Module:
    raise ValueError("no such layer")


one_tensor = torch.ones(2)


@pytest.fixture
def trained() -> MobileNet:
    torch.manual_seed(7)
    return MobileNet()


@pytest.fixture
def weights(trained: MobileNet, tmp_path: Path) -> Path:
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "best.safetensors")
    return tmp_path / "best.safetensors"


def test_a_module_is_exported_by_a_command_with_its_batch_norms_as_trained(
    mnet: Mnet, trained: MobileNet, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    arguments = ["--weights", weights, "--generated", "head.*", "--example", f"{__name__}:example"]
    code, stdout, _ = mnet("export", BUILD, *arguments, "--target", "onnx", "-o", out, "--json")
    assert code == 0
    bundle = public.Bundle.load(out)
    assert json.loads(stdout)["id"] == bundle.id
    assert [slot.parameter for slot in bundle.manifest.slots] == [*MobileNet.generated]
    assert bundle.manifest.model.metadata["module"] == BUILD
    inputs = bundle.golden.inputs[0]
    expected = trained.eval()(*inputs)
    assert torch.equal(bundle.golden.default[0][0], expected)
    torch.testing.assert_close(public.open_session(bundle).run(inputs)[0], expected)


def test_weights_come_from_safetensors_and_from_checkpoints(
    trained: MobileNet, weights: Path, tmp_path: Path
) -> None:
    state = trained.state_dict()
    torch.save(
        {"epoch": 3, "state_dict": {f"model.{name}": value for name, value in state.items()}}, tmp_path / "a"
    )
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "b")
    torch.save(state, tmp_path / "c", _use_new_zipfile_serialization=False)
    for path in (weights, tmp_path / "a", tmp_path / "b", tmp_path / "c"):
        found = load_module(BUILD, path)
        assert not found.training
        for name, value in found.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_a_tensor_that_two_names_share_stands_in_a_file_once(tmp_path: Path) -> None:
    from tests.export.adapters import CausalTransformer

    state = CausalTransformer().state_dict()
    del state["head.weight"]
    safetensors.torch.save_file(state, tmp_path / "tied.safetensors")
    found = load_module("tests.export.adapters:CausalTransformer", tmp_path / "tied.safetensors")
    assert torch.equal(found.get_parameter("head.weight"), state["tokens.weight"])


def changed(state: dict[str, Tensor], **values: Any) -> dict[str, Tensor]:
    return {name: value for name, value in {**state, **values}.items() if value is not None}


def test_weights_that_do_not_fit_are_named(trained: MobileNet, tmp_path: Path) -> None:
    state, path = trained.state_dict(), tmp_path / "w.safetensors"
    for values, named in (
        ({"head.2.bias": None}, r"does not fit MobileNet: it lacks head\.2\.bias$"),
        ({"tail.bias": torch.ones(2)}, r"the module has no tail\.bias$"),
        ({"head.2.bias": torch.ones(5)}, r"head\.2\.bias is \[5\] there and \[4\] in the module$"),
    ):
        safetensors.torch.save_file(changed(state, **values), path)
        with pytest.raises(UserError, match=named):
            load_module(BUILD, path)


def test_what_is_no_state_dict_is_refused_without_running_its_code(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"hyper_parameters": Namespace(width=3)}, path)
    with pytest.raises(UserError, match="could run code"):
        read_state(path)
    torch.save({"weight": 3}, path)
    with pytest.raises(UserError, match="holds no state dict"):
        read_state(path)
    path.write_text("weights, honestly")
    with pytest.raises(UserError, match="neither a safetensors file nor a checkpoint"):
        read_state(path)
    path.write_bytes(b"\x00\x01\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(UserError, match="damaged safetensors"):
        read_state(path)


def test_examples_are_a_function_a_file_or_drawn(tmp_path: Path) -> None:
    module = MobileNet()
    assert len(load_examples(f"{__name__}:several", [], module)) == 2
    assert len(load_examples(f"{__name__}:one_tensor", [], module)[0]) == 1
    first, again = (cast(Any, load_examples(f"{__name__}:example", [], module)[0]) for _ in range(2))
    assert torch.equal(first["image"], again["image"])
    safetensors.torch.save_file(example(), tmp_path / "e.safetensors")
    (stored,) = cast(Any, load_examples(str(tmp_path / "e.safetensors"), [], module))
    assert stored["image"].shape == (1, 3, 16, 16)
    drawn: Any = load_examples(None, ["image:float32[1,3,16,16]", "ids:int64[1,200]<30"], module)
    assert [{name: (each.dtype, each.shape) for name, each in some.items()} for some in drawn] == [
        {"image": (torch.float32, (1, 3, 16, 16)), "ids": (torch.int64, (1, 200))}
    ] * 2
    assert 20 < drawn[0]["ids"].max() < 30


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (f"{__name__}:broken", r"broken fails in .*test_own_module\.py, line \d+: ValueError: no such layer"),
        (f"{__name__}:input_shape", "fails in .*TypeError"),
        (f"{__name__}:one_tensor", "gives a Tensor, not a torch.nn.Module"),
        ("no_such_nets:build", "cannot load the module no_such_nets:build"),
    ],
)
def test_a_reference_that_gives_no_module_says_why(reference: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_module(reference)


@pytest.mark.parametrize("text", ["image", "image:float32", "image:float33[1]", "image:float32[1,]"])
def test_an_input_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--input"):
        input_shape(text)


def test_mistakes_of_the_command_are_one_line(mnet: Mnet, tiny_run: Path, tmp_path: Path) -> None:
    out = ["--target", "onnx", "-o", tmp_path / "out"]
    given = ["--generated", "head.*", "--input", "image:float32[1,3,16,16]"]
    for arguments, said in (
        ([BUILD, *out], "give --generated"),
        ([BUILD, "--generated", "head.*", *out], "give --example"),
        ([BUILD, *given, "--example", "x", *out], "give --example"),
        ([BUILD, *given, "--weights", tmp_path / "none", *out], "no such file"),
        ([BUILD, *given, "--into", tmp_path, *out], "--into is for a run"),
        ([BUILD, "--generated", "tail.*", *given[2:], *out], "no parameter matches 'tail.*'"),
        ([tiny_run, *given, *out], "are for a module of your own"),
    ):
        code, stdout, stderr = mnet("export", *arguments)
        assert (code, stdout) == (2, ""), arguments
        assert said in stderr, stderr
        assert sum(line.startswith("error:") for line in stderr.splitlines()) == 1


def test_a_module_is_checked_by_a_command_before_anything_is_trained(mnet: Mnet) -> None:
    own = ["--generated", "head.*", "--example", f"{__name__}:example", "--target", "none", "--json"]
    code, stdout, _ = mnet("check", BUILD, *own)
    rows = json.loads(stdout)
    assert (code, {row["verdict"] for row in rows.values()}) == (0, {"right"})
    assert list(rows) == ["generated", "forward", "all packs at once", "each parameter moved alone"]
    own[1] = "block.*"
    code, stdout, _ = mnet("check", BUILD, *own)
    assert (code, json.loads(stdout)["forward"]["verdict"]) == (0, "right")


def test_a_module_that_mixes_its_batch_is_refused_for_training(mnet: Mnet) -> None:
    own = ["--generated", "head.*", "--input", "rows:float32[1,4]", "--target", "none", "--json"]
    code, stdout, _ = mnet("check", f"{__name__}:Single", *own)
    training = json.loads(stdout)["training"]
    assert (code, training["verdict"]) == (1, "refused")
    assert "does not run on a batch of two" in training["found"]
    code, _, err = mnet("check", "synthetic-drift/sasrec", *own)
    assert (code, "for a module of your own, package.module:build" in err.replace("\n", " ")) == (2, True)


class Single(nn.Module):
    """One row alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, rows: Tensor) -> Tensor:
        scores: Tensor = self.head(rows.view(4))
        return scores
