"""What the cloud generates for a bundle whose packs travel in int8."""

from pathlib import Path

import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack, unpack
from mnet.export.session import open_session
from mnet.toolchain.cloud.generation import PackGenerator, load_generators
from mnet.toolchain.training.export_run import export_run


@pytest.fixture(scope="module")
def generator(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PackGenerator, Bundle]:
    """The tiny run's, for an int8 bundle."""
    out = tmp_path_factory.mktemp("narrow") / "bundle"
    bundle = export_run(tiny_run, "android", out, pack_dtype="int8")
    (generator,) = load_generators([tiny_run], [out]).values()
    assert isinstance(generator, PackGenerator)
    return generator, bundle


def test_a_device_takes_them(generator: tuple[PackGenerator, Bundle]) -> None:
    cloud, bundle = generator
    packs = cloud.packs([[1, 2, 3], [4, 5]], versions=[1, 2])
    session = open_session(bundle)
    for pack in packs:
        session.swap(pack)
        _, tensors = unpack(pack)
        assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.int8", "torch.float32"}
        assert len(pack) < bundle.manifest.generated_bytes
    assert session.version == 2
    first, second = (read_pack(pack, bundle.manifest).parameters for pack in packs)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_an_earlier_pack_goes_out_again_as_it_was(generator: tuple[PackGenerator, Bundle]) -> None:
    cloud, _ = generator
    (pack,) = cloud.packs([[1, 2, 3]], versions=[4])
    assert cloud.renumbered(pack, 4) == pack
    again = cloud.renumbered(pack, 5)
    assert again != pack
    assert all(torch.equal(unpack(again)[1][name], tensor) for name, tensor in unpack(pack)[1].items())
