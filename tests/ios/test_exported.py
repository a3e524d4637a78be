"""What the Swift core makes of a pack for a runtime, as the exporter: CoreML's flat vector, ExecuTorch's bytes."""

import base64
import shutil

import numpy as np
import pytest

from ios.hosttest import swift
from ios.hosttest.judge import Judge
from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack
from mnet.export.format.slots import patch
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.export.targets.ios import flatten
from tests.export.ranker import Ranker, ranker_bundle
from tests.ios.conftest import VECTORS, or_skip


@pytest.mark.parametrize("binding", ["input", "state"])
def test_the_vector_of_a_pack_is_the_exporters(
    binding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("coremltools")
    command = or_skip(lambda: swift.program(swift.JUDGE))
    bundle = ranker_bundle(tmp_path_factory, Ranker(), "ios", binding)
    folder = swift.BUILD / "bundles" / binding
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle.path, folder)
    pack = base64.b64encode(bundle.golden_pack()).decode()
    with Judge(command, folder.parent) as judge:
        found = judge.ask(do="swap", bundle=swift.place(folder), pack=pack)
    expected = flatten(bundle.golden.weights, bundle.manifest.slots).numpy()
    assert (found["version"], found["name"], found["source"]) == (1, "generated_parameters", binding)
    assert np.array_equal(np.frombuffer(base64.b64decode(found["halves"]), np.float16), expected)


def test_the_copy_of_a_program_whose_weights_are_bytes_is_the_exporters(judge: Judge) -> None:
    bundle = Bundle.load(VECTORS / "exported" / "convnet")
    pack = StoredSwaps.of(bundle).pack(0, version=1)
    found = judge.ask(do="patch", bundle="convnet", pack=base64.b64encode(pack).decode())
    template = (bundle.path / bundle.manifest.model.program).read_bytes()
    expected = patch(template, bundle.manifest.slots, read_pack(pack, bundle.manifest).parameters)
    assert base64.b64decode(found["program"]) == expected != template
