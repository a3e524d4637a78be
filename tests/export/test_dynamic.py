"""Sizes of inputs that vary within bounds: right at every size on the runtimes that can, refused by name elsewhere."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mnet
from mnet import BundleError
from mnet.export.lowering.dynamic import parse_bounds
from mnet.export.targets import known_targets
from tests.conftest import write_interactions
from tests.mnet_command import Mnet

LEAST, MOST = 1, 12


class Reader(nn.Module):
    """Ids and their mask [1, L], an image [1, 2, W, 3] -> scores of each position [1, L, 4] and of all [1, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.mix, self.each, self.whole = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 5, bias=False)
        self.width = nn.Linear(6, 8)

    def forward(self, ids: Tensor, mask: Tensor, image: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.mix(self.table(ids))) * mask[..., None]
        mean = x.sum(1) / mask.sum(1, keepdim=True)
        return {"each": self.each(x), "whole": self.whole(mean + self.width(image.mean(2).flatten(1)))}


class Recurrent(nn.Module):
    """Series [1, L, 3] -> the last state of a GRU, [1, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 4)

    def forward(self, series: Tensor) -> Tensor:
        last: Tensor = self.head(self.memory(series)[0][:, -1])
        return last


def inputs(length: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.ones(1, length)
    mask[:, length // 2 + 1 :] = 0
    return torch.randint(20, (1, length)), mask, torch.randn(1, 2, width, 3)


@pytest.fixture(scope="module")
def reader() -> Reader:
    torch.manual_seed(0)
    return Reader().eval()


@pytest.mark.parametrize("target", [name for name, known in known_targets().items() if known.dynamic])
def test_every_size_within_the_bounds_gives_what_pytorch_gives(
    reader: Reader, target: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    dynamic = {"ids,mask": (LEAST, MOST), "image[2]": (2, 6)}
    generated, example = ["mix.weight", "each.*", "whole.*"], inputs(5, 3)
    bundle = mnet.export_module(
        reader, generated=generated, example=example, target=target, out=tmp_path / "b", dynamic=dynamic
    )
    described = [info.bounds for info in (*bundle.manifest.inputs, *bundle.manifest.outputs)]
    assert described == ["[1, 1..12]", "[1, 1..12]", "[1, 2, 2..6, 3]", "[1, 1..12, 4]", "[1, 5]"]
    assert [sample[0].shape[1] for sample in bundle.golden.inputs] == [5, LEAST, MOST]
    session, tolerance = mnet.open_session(bundle), bundle.manifest.golden.tolerance
    session.swap(bundle.golden_pack())
    for length, width in [(LEAST, 2), (7, 6), (MOST, 4), (5, 3)]:
        given = inputs(length, width)
        expected = torch.func.functional_call(reader, bundle.golden.weights, given)
        for ours, theirs in zip(session.run(given), expected.values(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=2 * tolerance * theirs.abs().max().item())
    with pytest.raises(ValueError, match=r"input ids is int64 \[1, 13\]; the model takes int64 \[1, 1..12\]"):
        session.run(inputs(MOST + 1, 3))
    ids, _, image = inputs(4, 3)
    with pytest.raises(ValueError, match="another input's ids is 4"):
        session.run((ids, torch.ones(1, 6), image))


def test_a_runtime_of_fixed_sizes_is_refused_before_anything_is_run(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"tflite has fixed sizes only, and ids shall vary.*onnx"):
        mnet.export_module(
            reader, generated=["each.*"], example=inputs(5, 3), target="tflite", out=tmp_path / "b",
            dynamic={"ids": (1, 5)},
        )  # fmt: skip


def test_a_model_that_takes_one_size_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"series\[1\] cannot vary: the model fixes a size to 6, as a recurrent"
    ):
        mnet.export_module(
            Recurrent(), generated=["head.*"], example=(torch.randn(1, 6, 3),), target="onnx", out=tmp_path / "b",
            dynamic={"series[1]": (1, 9)},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ({"words": (1, 9)}, "'words' is no input of the model; its inputs are ids, mask, image"),
        ({"image": (1, 9)}, r"input image has 4 dimensions: say which one varies, as in `image\[3\]`"),
        ({"image[4]": (1, 9)}, "the dimensions of this input that can vary are 1 to 3"),
        ({"ids": (6, 9)}, "ids=6..9: the example's size is 5; it must lie in the bounds"),
        ({"ids": (5, 5)}, "ids=5..5: a size has bounds such as 1..200"),
        ({"ids,mask": (1, 9), "mask": (1, 9)}, "the size of input mask is named twice"),
    ],
)
def test_bounds_of_what_the_model_does_not_have_are_refused(
    reader: Reader, tmp_path: Path, dynamic: dict[str, tuple[int, int]], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        mnet.export_module(
            reader, generated=["each.*"], example=inputs(5, 3), target="onnx", out=tmp_path / "b", dynamic=dynamic
        )  # fmt: skip


def test_bounds_are_read_from_a_command_line(mnet: Mnet, tmp_path: Path) -> None:
    assert parse_bounds(["ids,mask=1..128", "image[2] = 8..64"]) == {
        "ids,mask": (1, 128),
        "image[2]": (8, 64),
    }
    own = (
        "export",
        f"{__name__}:Reader",
        "--generated",
        "each.*",
        "--input",
        "ids:int64[1,5]",
        "-o",
        tmp_path / "b",
    )
    for target, size, said in [
        ("onnx", "ids=1-5", "write one as in `history=1..200`"),
        ("tflite", "ids=1..5", "target tflite has fixed sizes only, and ids shall vary"),
    ]:
        code, _, err = mnet(*own, "--target", target, "--dynamic", size)
        assert (code, said in err.replace("\n", " ")) == (2, True)


def test_a_config_is_checked_with_sizes_that_vary(mnet: Mnet, tmp_path: Path) -> None:
    write_interactions(tmp_path / "u.data")
    config = ["movielens-100k/sasrec", "--data", f"movielens-100k={tmp_path / 'u.data'}"]
    code, out, err = mnet("check", *config, "--target", "onnx,tflite", "--dynamic", "history=1..10", "--json")
    rows = json.loads(out)
    assert code == 1, err  # for tflite, by name
    assert rows["onnx"]["verdict"] == "right", rows["onnx"]
    assert (rows["tflite"]["verdict"], "fixed sizes only" in rows["tflite"]["found"]) == ("refused", True)
    code, out, err = mnet("check", *config, "--target", "onnx", "--dynamic", "histories=1..10", "--json")
    assert (code, out) == (2, "")
    assert "'histories' is no input of the model; its inputs are history, candidates" in err
