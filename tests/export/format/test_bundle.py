import shutil
from pathlib import Path

import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError, Reason
from mnet.export.format.packs import read_pack
from tests.export.ranker import GENERATED, Ranker

FILES = [
    "bench/baked.pte",
    "bench/swaps.safetensors",
    "default.safetensors",
    "golden-weights.safetensors",
    "golden.safetensors",
    "model.pte",
]


def damage(path: Path) -> Reason:
    with pytest.raises(IntegrityError) as caught:
        Bundle.load(path)
    return caught.value.reason


def test_what_a_bundle_says_of_itself(bundle: Bundle, model: Ranker) -> None:
    manifest = bundle.manifest
    assert sorted(manifest.files) == FILES
    assert {name for name, file in manifest.files.items() if file.role == "bench"} == set(FILES[:2])
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in manifest.inputs] == [
        ("history", "int64", (1, 5)),
        ("candidates", "int64", (1, 20)),
    ]
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in manifest.outputs] == [
        ("scores", "float32", (1, 20))
    ]
    assert [
        (slot.parameter, slot.layout, slot.binding.index, slot.binding.name) for slot in manifest.slots
    ] == [(name, "OI" if name.endswith("weight") else "O", 2 + k, name) for k, name in enumerate(GENERATED)]
    assert manifest.generated_bytes == 4 * 2 * (16 * 16 + 16)
    assert manifest.model.metadata == {"by": "a test"}
    assert manifest.target == "android"


def test_the_default_pack_is_version_0_with_the_models_own_weights(bundle: Bundle, model: Ranker) -> None:
    pack = read_pack(bundle.default_pack(), bundle.manifest)
    assert pack.version == 0
    assert all(torch.equal(pack.parameters[name], model.get_parameter(name)) for name in GENERATED)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_anywhere_is_found(bundle: Bundle, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    path = copy / name
    good = path.read_bytes()
    for position in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        assert damage(copy) is Reason.WRONG_HASH
    path.write_bytes(good[:-1])
    assert damage(copy) is Reason.WRONG_SIZE
    path.unlink()
    assert damage(copy) is Reason.MISSING_FILE
    path.write_bytes(good)
    assert Bundle.load(copy).id == bundle.id


def test_an_added_file_is_found(bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    (copy / "bench" / "notes.txt").write_text("hello")
    assert damage(copy) is Reason.EXTRA_FILE


def test_a_link_is_not_a_file(bundle: Bundle, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    (copy / "model.pte").rename(tmp_path / "elsewhere.pte")
    (copy / "model.pte").symlink_to(tmp_path / "elsewhere.pte")
    assert damage(copy) is Reason.MALFORMED


def test_no_bundle_is_a_users_mistake(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "no such folder"), (tmp_path, "not a bundle")):
        with pytest.raises(BundleError, match=message) as caught:
            Bundle.load(path)
        assert not isinstance(caught.value, IntegrityError)
