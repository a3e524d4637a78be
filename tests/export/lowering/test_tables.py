"""Rows of a table: cut out, reserved, exported for every target and filled by packs."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import mnet as public
from mnet import BundleError
from mnet.export.lowering.tables import with_reserve, with_rows
from mnet.export.targets import target_names
from tests.mnet_command import Mnet


class Shop(nn.Module):
    """History of items [1, L] -> scores of candidates [1, C], and of 3 classes [1, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(30, 8, padding_idx=0)
        self.step = nn.Linear(8, 8)
        self.classes = nn.Linear(8, 3)

    def forward(self, history: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.step(self.items(history).mean(1)))
        return (self.items(candidates) @ hidden.unsqueeze(-1)).squeeze(-1), self.classes(hidden)


@pytest.fixture(scope="module")
def shop() -> Shop:
    torch.manual_seed(0)
    return Shop().eval()


def inputs(new: int) -> tuple[Tensor, Tensor]:
    """A history and candidates, some of which are `new`."""
    return torch.tensor([[3, 7, new, 12]]), torch.tensor([[new, 5, 9, new + 1, 2]])


@pytest.mark.parametrize("names", [("items.weight[4:9]",), ("items.weight[28:30]", "items.weight[0:2]")])
def test_a_cut_model_computes_the_same(shop: Shop, names: tuple[str, ...]) -> None:
    cut = with_rows(shop, names)
    assert set(names) <= {name for name, _ in cut.named_parameters()}
    everything = torch.arange(30)[None], torch.arange(29, -1, -1)[None]
    for one, other in zip(cut(*everything), shop(*everything), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(cut.get_submodule("items").weight, shop.items.weight)
    assert with_rows(shop, ["items.weight"]) is shop


def test_reserved_rows_are_zeros_behind_the_others_in_a_copy(shop: Shop) -> None:
    grown, names = with_reserve(shop, {"items.weight": 4, "classes.weight": 2})
    assert names == ("items.weight[30:34]", "classes.weight[3:5]", "classes.bias[3:5]")
    assert grown.get_submodule("items").num_embeddings == 34
    assert grown.get_parameter("items.weight")[30:].abs().sum() == 0
    assert shop.items.weight.shape == (30, 8)
    scores, classes = with_rows(grown, names)(*inputs(5))
    assert torch.equal(scores, shop(*inputs(5))[0])
    torch.testing.assert_close(classes[:, :3], shop(*inputs(5))[1])
    assert classes[:, 3:].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["items.weight[28:31]"], "items.weight has rows 0 to 29"),
        (["items.weight[3:5]", "items.weight[4:6]"], "each can be named once"),
        (["items.weight[3:5]", "items.weight"], "as a whole and by rows"),
        (["nothing.weight[3:5]"], "no parameter 'nothing.weight'"),
        (["shop[0:2]"], "no parameter 'shop'"),
    ],
)
def test_rows_that_are_not_there_are_refused(shop: Shop, names: list[str], match: str) -> None:
    with pytest.raises(BundleError, match=match):
        with_rows(shop, names)


def test_rows_of_a_shared_table_are_refused() -> None:
    tied = Shop()
    tied.items = nn.Embedding(3, 8)
    tied.items.weight = tied.classes.weight
    with pytest.raises(BundleError, match=r"items.weight is shared with classes.weight"):
        with_rows(tied, ["items.weight[1:2]"])


@pytest.mark.parametrize("target", target_names())
def test_items_that_did_not_exist_at_the_export_come_with_a_pack(
    target: str, shop: Shop, tmp_path: Path
) -> None:
    bundle = public.export_module(
        shop,
        generated=["step.bias"],
        reserve={"items.weight": 4, "classes.weight": 1},
        example=[inputs(30), inputs(32)],
        target=target,
        out=tmp_path / "b",
    )
    slots = {slot.parameter: slot.shape for slot in bundle.manifest.slots}
    assert slots == {
        "step.bias": (8,),
        "items.weight[30:34]": (4, 8),
        "classes.weight[3:4]": (1, 8),
        "classes.bias[3:4]": (1,),
    }
    new = {name: torch.randn(shape) for name, shape in slots.items()}
    session = public.open_session(bundle)
    session.swap(public.make_pack(bundle, new, 1, module=shop))
    later = Shop()
    later.items, later.classes = nn.Embedding(34, 8), nn.Linear(8, 4)
    later.load_state_dict(
        {
            "items.weight": torch.cat([shop.items.weight, new["items.weight[30:34]"]]),
            "step.weight": shop.step.weight,
            "step.bias": new["step.bias"],
            "classes.weight": torch.cat([shop.classes.weight, new["classes.weight[3:4]"]]),
            "classes.bias": torch.cat([shop.classes.bias, new["classes.bias[3:4]"]]),
        }
    )
    for new_item in (30, 31, 32):
        for actual, expected in zip(session.run(inputs(new_item)), later(*inputs(new_item)), strict=True):
            torch.testing.assert_close(
                actual, expected.detach(), atol=100 * bundle.manifest.golden.tolerance, rtol=0
            )


def example() -> list[tuple[Tensor, Tensor]]:
    return [inputs(30), inputs(32)]


def test_rows_are_reserved_packed_and_swapped_by_commands(mnet: Mnet, tmp_path: Path) -> None:
    named = ["--generated", "step.bias", "--example", f"{__name__}:example"]
    out, pack = tmp_path / "b", tmp_path / "new.pack"
    code, _, err = mnet(
        "export", f"{__name__}:Shop", *named, "--reserve", "items.weight=4", "--target", "onnx", "-o", out
    )
    assert code == 0, err
    bundle = public.Bundle.load(out)
    assert [slot.parameter for slot in bundle.manifest.slots] == ["step.bias", "items.weight[30:34]"]
    rows = torch.randn(4, 8)
    weights = {"step.bias": bundle.default_weights["step.bias"], "items.weight[30:34]": rows}
    safetensors.torch.save_file(weights, tmp_path / "rows.safetensors")
    code, _, err = mnet("pack", out, "--weights", tmp_path / "rows.safetensors", "--out", pack)
    assert code == 0, err
    session = public.open_session(bundle)
    before = session.run(inputs(31))[0]
    session.swap(pack.read_bytes())
    torch.manual_seed(0)  # as the command builds it
    grown, _ = with_reserve(Shop().eval(), {"items.weight": 4})
    with torch.no_grad():
        grown.get_parameter("items.weight")[30:] = rows
        expected = grown(*inputs(31))[0]
    torch.testing.assert_close(session.run(inputs(31))[0], expected)
    assert (before - expected).abs().max() > 0.1
    refused = ["--reserve", "nothing=4", "--target", "onnx", "-o", tmp_path / "none"]
    code, _, err = mnet("export", f"{__name__}:Shop", *named, *refused)
    assert (code, "nothing" in err, "Traceback" in err) == (2, True, False)


def test_an_example_without_a_new_item_is_refused(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"items.weight\[30:34\], moved alone, .* Use a first example"):
        public.export_module(
            shop,
            generated=["step.bias"],
            reserve={"items.weight": 4},
            example=inputs(5),
            target="onnx",
            out=tmp_path / "b",
        )
