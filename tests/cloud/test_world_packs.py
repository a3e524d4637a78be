"""World packs: one pack for everyone, made without any upload, on every runtime; and under a device's own weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from torch.func import functional_call
from typer.testing import CliRunner

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack
from mnet.export.session import open_session
from mnet.export.targets import known_targets
from mnet.toolchain.cli.app import app
from mnet.toolchain.cloud.generation import PackGenerator, load_generators
from mnet.toolchain.cloud.world_packs import make_world_pack
from mnet.toolchain.errors import UserError
from mnet.toolchain.training.config import load_config
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import Run, load_run, read_items, write_items
from tests.conftest import ITEMS

WORLD = ("item_scale.weight", "item_bias.weight")


@pytest.fixture(scope="session")
def run(world_run: Path) -> Run:
    return load_run(world_run)


@pytest.fixture(scope="session")
def recent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day on which everybody takes items 7 and 8, after all that the run knows."""
    file = tmp_path_factory.mktemp("recent") / "recent.csv"
    rows = [f"u{n},{7 + n % 2},{10**9 + 60 * n}" for n in range(400)]
    file.write_text("\n".join(["user,item,time", *rows]))
    return file


@pytest.mark.parametrize("target", [name for name, known in known_targets().items() if known.installed])
@pytest.mark.parametrize("pack_dtype", ["fp32", "fp16", "int8"])
def test_it_is_right_on_every_target(
    world_run: Path, run: Run, recent: Path, target: str, pack_dtype: str, tmp_path: Path
) -> None:
    """The export verifies by itself; the pack passes its self-test and answers as eager PyTorch under its weights."""
    if pack_dtype != "fp32" and target != "android":
        pytest.skip("packs of every dtype are widened before any runtime sees them: one target shows it")
    bundle = export_run(world_run, target, tmp_path / "bundle", pack_dtype=pack_dtype)
    assert {slot.parameter for slot in bundle.manifest.slots} >= set(WORLD)
    made = make_world_pack(run, bundle, recent, 3)
    session = open_session(bundle)
    session.swap(made.pack)
    parameters, inputs = read_pack(made.pack, bundle.manifest).parameters, bundle.golden.inputs[0]
    with torch.inference_mode():
        expected = functional_call(run.device_model, parameters, inputs)
    tolerance = bundle.manifest.golden.tolerance * bundle.manifest.scales[0]
    torch.testing.assert_close(session.run(inputs)[0], expected, rtol=0, atol=max(tolerance, 1e-4))
    sizes = {"fp32": 8, "fp16": 4, "int8": 4}
    assert len(made.pack) < sizes[pack_dtype] * (ITEMS + 1) + 3000


def test_it_moves_what_is_of_the_world_and_nothing_else(run: Run, world_bundle: Path, recent: Path) -> None:
    bundle = Bundle.load(world_bundle)
    known, now = (make_world_pack(run, bundle, file, 1) for file in (None, recent))
    assert (known.new, now.new, now.until) == (0, 400, 10**9 + 60 * 399)
    before, after = (read_pack(made.pack, bundle.manifest).parameters for made in (known, now))
    for name, value in bundle.default_weights.items():
        assert (
            torch.equal(after[name], value) == torch.equal(after[name], before[name]) == (name not in WORLD)
        )
    again = make_world_pack(run, bundle, recent, 1)
    assert again.pack == now.pack, "the same interactions give the same bytes"


def test_a_device_with_a_context_has_its_own_weights_under_the_same_world(
    world_run: Path, run: Run, world_bundle: Path, recent: Path
) -> None:
    bundle = Bundle.load(world_bundle)
    (cloud,) = load_generators([world_run], [world_bundle]).values()
    assert isinstance(cloud, PackGenerator)
    world = cloud.world_of(make_world_pack(run, bundle, recent, 1).pack)
    plain, own = cloud.packs([[1, 2, 3]], [1]) + cloud.packs([[1, 2, 3]], [1], world)
    plain_parameters, parameters = (read_pack(pack, bundle.manifest).parameters for pack in (plain, own))
    for name in bundle.default_weights:
        if name in WORLD:
            assert torch.equal(parameters[name], world[name])
            assert not torch.equal(plain_parameters[name], world[name])
        else:
            assert torch.equal(parameters[name], plain_parameters[name])
            assert not torch.equal(parameters[name], bundle.default_weights[name])
    assert cloud.world_of(own) == {}, "a device's own pack is not for everyone"


def test_a_run_without_a_metanetwork_has_world_packs_alone(
    world_run: Path, recent: Path, tmp_path: Path
) -> None:
    config = yaml.safe_load((world_run / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | {"metanetwork": None}))
    train(load_config(str(tmp_path / "config.yaml")), tmp_path / "run", Console(quiet=True))
    bundle = export_run(tmp_path / "run", "android", tmp_path / "bundle")
    assert [slot.parameter for slot in bundle.manifest.slots] == list(WORLD)
    arguments = [
        "world",
        str(tmp_path / "run"),
        "-b",
        str(tmp_path / "bundle"),
        "--interactions",
        str(recent),
    ]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "world.pack"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["new"] == 400
    session = open_session(bundle)
    session.swap((tmp_path / "world.pack").read_bytes())
    (cloud,) = load_generators([tmp_path / "run"], [tmp_path / "bundle"]).values()
    assert isinstance(cloud, PackGenerator)
    (own,) = cloud.packs([[1, 2, 3]], [2])
    assert cloud.world_of(own).keys() == set(WORLD), "whoever uploads has what everyone has"


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (
            "user,item,time\nu,301,1",
            "none of its items is of the catalogue: not 301, for one; the catalogue has 1 and 299",
        ),
        ("user,item\nu,3", "has no column time"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(
    run: Run, world_bundle: Path, tmp_path: Path, table: str, what: str
) -> None:
    (tmp_path / "recent.csv").write_text(table)
    with pytest.raises(UserError, match=what):
        make_world_pack(run, Bundle.load(world_bundle), tmp_path / "recent.csv", 1)


def test_the_table_names_items_as_the_data_did(
    world_run: Path, run: Run, world_bundle: Path, recent: Path, tmp_path: Path
) -> None:
    """Own tables have names of their own for items; what is new since has no number on phones."""
    assert read_items(world_run) == {str(number): number for number in range(1, ITEMS + 1)}
    shutil.copytree(world_run, tmp_path / "run")
    write_items(tmp_path / "run", [f"film, part {number}" for number in range(1, ITEMS + 1)])
    rows = recent.read_text().replace(",7,", ',"film, part 7",').replace(",8,", ',"film, part 8",')
    (tmp_path / "own.csv").write_text(f"{rows}\nu,film of tomorrow,{10**9}")
    bundle = Bundle.load(world_bundle)
    own = make_world_pack(load_run(tmp_path / "run"), bundle, tmp_path / "own.csv", 1)
    assert (own.new, own.left_out) == (400, 1)
    assert own.pack == make_world_pack(run, bundle, recent, 1).pack


def test_a_run_without_worlds_says_so(tiny_run: Path, tiny_bundle: Path) -> None:
    with pytest.raises(UserError, match="trained no world packs; its config has no section world"):
        make_world_pack(load_run(tiny_run), Bundle.load(tiny_bundle), None, 1)


def test_what_is_taken_of_late_moves_most(run: Run, world_bundle: Path, recent: Path) -> None:
    """The generator starts at changing nothing; these users never take an item twice, so it may fall as well."""
    bundle = Bundle.load(world_bundle)
    bias = [
        read_pack(make_world_pack(run, bundle, file, 1).pack, bundle.manifest)
        .parameters[WORLD[1]][1:, 0]
        .numpy()
        for file in (None, recent)
    ]
    moves = np.abs(bias[1] - bias[0])
    assert moves[[6, 7]].min() > 2 * np.delete(moves, [6, 7]).max()
