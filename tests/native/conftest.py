"""The native runner and its test programs, built once into `build/`, and bundles for them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import executorch
import pytest
import torch
from torch import nn

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from tests.export.models import ConvNet, Separable, image_spec
from tests.export.ranker import PackFactory, Ranker, ranker_bundle
from tests.once import made_once, one_at_a_time

REPOSITORY = Path(__file__).parents[2]
WHEEL = Path(next(iter(executorch.__path__)))

Program = Callable[..., subprocess.CompletedProcess[str]]


def missing_tool() -> str | None:
    """What the build lacks on this machine, if anything."""
    if not (WHEEL / "lib/libexecutorch.so").exists():
        return "ExecuTorch's wheel without C++ libraries"
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            return tool
    check = ["c++", "-E", "-x", "c++", "-include", "nlohmann/json.hpp", "/dev/null"]
    return "nlohmann-json3-dev" if subprocess.run(check, capture_output=True).returncode else None


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder of the built programs; only what changed since the last run is compiled again."""
    if tool := missing_tool():
        pytest.skip(f"the native runner needs {tool}")
    folder = REPOSITORY / "build" / "native-tests"
    configure = ["cmake", "-S", str(Path(__file__).parent), "-B", str(folder), f"-DCMAKE_PREFIX_PATH={WHEEL}"]
    with one_at_a_time(folder):
        for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
            result = subprocess.run(command, capture_output=True, text=True)
            assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="session")
def program(build: Path) -> Program:
    """Runs one of the built programs, such as `program("soak", bundle, 200)`."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(build / name), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def runner(program: Program) -> Program:
    """Runs `mnet-runner`."""
    return lambda *arguments: program("mnet/mnet-runner", *arguments)


@pytest.fixture(scope="session")
def model() -> Ranker:
    """The ranking model, in eager PyTorch."""
    torch.manual_seed(0)
    return Ranker().eval()


@pytest.fixture(scope="session", params=["android input", "android bytes", "executorch"])
def bundle(request: pytest.FixtureRequest, model: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The ranking model's bundle for each target that the runner knows, and each way to bind its weights."""
    target, _, binding = request.param.partition(" ")
    return ranker_bundle(tmp_path_factory, model, target, binding or None)


@pytest.fixture(scope="session")
def packs(bundle: Bundle, model: Ranker) -> PackFactory:
    """Packs for `bundle`, with eager PyTorch's outputs."""
    return PackFactory(bundle, model)


@pytest.fixture(scope="session", params=["executorch", "android bytes", "android input"])
def convolutions(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, nn.Module]:
    """A bundle whose slots are not in PyTorch's layout, and its model."""
    torch.manual_seed(0)
    target, _, binding = request.param.partition(" ")
    model = (Separable() if binding == "input" else ConvNet()).eval()

    def make(folder: Path) -> None:
        export_bundle(image_spec(model, model.generated, binding or None), target, folder / "bundle")

    return Bundle.load(made_once(tmp_path_factory, f"convolutions {request.param}", make) / "bundle"), model
