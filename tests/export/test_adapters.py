"""LoRA adapters of PEFT as slots, on every target: exported, packed, refused where they do not fit or do nothing."""

import json
import threading
from pathlib import Path

import pytest
import torch

from mnet.export.adapters import Adapter, unpack_adapter
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, Reason, Refused
from mnet.export.session import Session, open_session
from mnet.export.targets import executorch, load_program, target_names
from mnet.toolchain.errors import UserError
from mnet.toolchain.own_module import export_own
from mnet.toolchain.own_pack import own_pack
from tests.export.adapters import LENGTH, build, write_adapter
from tests.mnet_command import Mnet

peft = pytest.importorskip("peft", reason="PEFT, which injects LoRA, is not installed")

BUILD = f"{build.__module__}:build"
INPUT = f"tokens:int64[1,{LENGTH}]<30"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(folder / name, seed) for seed, name in enumerate(("en", "de", "fr"))}


@pytest.fixture(scope="module", params=target_names())
def bundle(
    request: pytest.FixtureRequest, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """`mnet export --lora`, on each target; the default weights are the adapter `en`."""
    out = tmp_path_factory.mktemp("lora") / "b"
    return export_own(BUILD, None, [], None, [INPUT], request.param, out, lora=adapters["en"])


def with_peft(adapter: Path, bundle: Bundle) -> torch.Tensor:
    """What PEFT itself gives for golden sample 0."""
    model = peft.PeftModel.from_pretrained(build(), str(adapter)).eval()
    with torch.no_grad():
        return model(*bundle.golden.inputs[0])


def test_an_adapter_is_packed_swapped_and_unpacked(
    bundle: Bundle, adapters: dict[str, Path], tmp_path: Path
) -> None:
    assert len(bundle.manifest.slots) == 8
    assert bundle.manifest.generated_bytes == 8 * 4 * 8 * 16, "the factors travel, not their product"
    session = open_session(bundle)
    if bundle.manifest.target == "executorch":
        # PEFT casts to the factors' dtype; a traced graph asserts that, and its assertions kept factors in `encode`.
        executorch._Method((bundle.path / "model.pte").read_bytes(), "encode")
    tolerance = 3 * bundle.manifest.golden.tolerance
    for version, name in enumerate(("en", "de", "fr"), 1):
        pack = own_pack(bundle, adapters[name], version, module=BUILD if version < 3 else None)
        session.swap(pack)
        (scores,) = session.run(bundle.golden.inputs[0])
        torch.testing.assert_close(scores, with_peft(adapters[name], bundle), atol=tolerance, rtol=tolerance)
    unpack_adapter(bundle, pack).save(tmp_path / "back")
    assert Adapter.read(tmp_path / "back").digest == Adapter.read(adapters["fr"]).digest
    assert torch.equal(with_peft(tmp_path / "back", bundle), with_peft(adapters["fr"], bundle))


def test_an_adapter_without_effect_is_refused(
    bundle: Bundle, adapters: dict[str, Path], tmp_path: Path
) -> None:
    """Others load such a file without a word. Here `mnet pack` refuses it; and a device whose runtime ignores one."""
    untrained = write_adapter(tmp_path / "untrained", 5, trained=False)
    with pytest.raises(UserError, match="has no effect"):
        own_pack(bundle, untrained)
    with pytest.raises(BundleError, match=r"blocks\.0\.q_proj has factors in the bundle alone"):
        misnamed = Adapter.read(adapters["de"])
        renamed = {name.replace("q_proj", "query"): value for name, value in misnamed.tensors.items()}
        Adapter(misnamed.config, renamed).save(tmp_path / "misnamed")
        own_pack(bundle, tmp_path / "misnamed")

    class Ignoring:
        """A runtime that takes new weights and serves the old ones."""

        def __init__(self) -> None:
            self._run = load_program(bundle.path / bundle.manifest.model.program, bundle.manifest).bind(
                bundle.default_weights
            )

        def bind(self, _weights: object) -> object:
            return self._run

    session = Session(bundle, Ignoring(), bundle.default_weights)
    with pytest.raises(Refused) as refusal:
        session.swap(own_pack(bundle, adapters["de"], 1))
    assert (refusal.value.reason, session.version) == (Reason.SELF_TEST_FAILED, 0)


def test_switching_between_resident_adapters_under_load(
    bundle: Bundle, adapters: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    """No output is a mixture of two adapters, and none is of the adapter before the switch."""
    switches = request.config.getoption("--swaps") // 4
    session, inputs = open_session(bundle), bundle.golden.inputs[0]
    expected: dict[str | None, torch.Tensor] = {None: session.run(inputs)[0]}
    for name in ("de", "fr"):
        serving = session.live
        session.load(name, own_pack(bundle, adapters[name]))
        assert session.live is serving, "loading does not switch"
        session.use(name)
        expected[name] = session.run(inputs)[0]
    assert len({tuple(each.flatten().tolist()) for each in expected.values()}) == 3
    mixed: list[str | None] = []
    read: list[str | None] = []
    stop = threading.Event()

    def reading() -> None:
        while not stop.is_set():
            live = session.live
            read.append(live.name)
            if not torch.equal(live.run(inputs)[0], expected[live.name]):
                mixed.append(live.name)

    reader = threading.Thread(target=reading)
    reader.start()
    stale = []
    for switch in range(switches):
        switched = (None, "de", "fr")[switch % 3]
        session.use(switched)
        if not torch.equal(session.run(inputs)[0], expected[switched]):
            stale.append(switched)
    stop.set()
    reader.join()
    assert (mixed, stale) == ([], [])
    assert len(read) > 0
    with pytest.raises(LookupError, match="no weights are loaded as 'it'; there are de, fr"):
        session.use("it")
    with pytest.raises(Refused, match="stale_version"):
        session.load("de", own_pack(bundle, adapters["en"]))
    session.unload("de")
    with pytest.raises(LookupError):
        session.use("de")


@pytest.mark.parametrize("bundle", ["onnx"], indirect=True)
def test_an_adapter_that_does_not_fit_says_how_it_differs(
    mnet: Mnet, bundle: Bundle, adapters: dict[str, Path], tmp_path: Path
) -> None:
    for config, said in (
        ({"r": 4, "lora_alpha": 8}, "rank of blocks.0.q_proj is 4 in the adapter and 8 in the bundle"),
        ({"lora_alpha": 32}, "alpha / r of blocks.0.q_proj is 4 in the adapter and 2 in the bundle"),
        (
            {"alpha_pattern": {"1.v_proj": 8}},
            "does not fit: alpha / r of blocks.1.v_proj is 1 in the adapter",
        ),
        ({"use_rslora": True}, "alpha / r of blocks.0.q_proj is 5.65685 in the adapter"),
        ({"targets": ["k_proj", "q_proj"]}, "blocks.0.k_proj has factors in the adapter alone"),
        ({"use_dora": True}, "the bundle has no slot for blocks.0.q_proj.lora_magnitude_vector"),
    ):
        folder = write_adapter(tmp_path / str(len(said)), 3, **config)
        with pytest.raises(BundleError, match=said):
            own_pack(bundle, folder)
    out = tmp_path / "de.pack"
    code, stdout, _ = mnet("pack", bundle.path, "--weights", adapters["de"], "-o", out, "--json")
    assert (code, json.loads(stdout)["bytes"]) == (0, out.stat().st_size)
    assert mnet("pack", bundle.path, "--unpack", out, "-o", tmp_path / "de")[0] == 0
    assert Adapter.read(tmp_path / "de").digest == Adapter.read(adapters["de"]).digest
    for arguments, said in (
        (["--weights", tmp_path / "de", "--zero"], "give --weights"),
        (["--weights", tmp_path], "has no adapter_config.json"),
        (["--zero", "--base", out], "give both"),
        (["--unpack", adapters["de"] / "adapter_config.json"], "malformed"),
    ):
        code, _, stderr = mnet("pack", bundle.path, *arguments, "-o", tmp_path / "x")
        assert (code, said in stderr) == (2, True), stderr


@pytest.mark.parametrize("bundle", ["onnx"], indirect=True)
def test_the_default_weights_are_packed_as_a_way_back(mnet: Mnet, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "zero.pack"
    assert mnet("pack", bundle.path, "--zero", "--version", 7, "-o", out)[0] == 0
    session = open_session(bundle)
    session.swap(out.read_bytes())
    assert session.version == 7
    assert torch.equal(
        session.run(bundle.golden.inputs[0])[0], open_session(bundle).run(bundle.golden.inputs[0])[0]
    )


@pytest.mark.parametrize("bundle", ["onnx"], indirect=True)
def test_without_an_adapter_in_the_bundle_or_the_folder_there_is_none(
    bundle: Bundle, adapters: dict[str, Path], tmp_path: Path
) -> None:
    config = json.loads((adapters["de"] / "adapter_config.json").read_text())
    (adapters["de"] / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(BundleError, match="peft_type must be LORA"):
        Adapter.read(adapters["de"])
    (adapters["de"] / "adapter_config.json").write_text(json.dumps(config))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        damaged = tmp_path / name
        damaged.mkdir()
        (damaged / "adapter_config.json").write_text(json.dumps(config))
        (damaged / "adapter_model.safetensors").write_bytes(
            (adapters["de"] / "adapter_model.safetensors").read_bytes()
        )
        (damaged / name).write_text("?")
        with pytest.raises(BundleError, match="is no adapter of PEFT"):
            Adapter.read(damaged)
