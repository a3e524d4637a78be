"""The app's engine on this machine: ExecuTorch's Java API over the runtime of the Python wheel."""

import importlib.util
from pathlib import Path

from android_demo.hosttest.kotlin import (
    BUILD,
    JNI,
    compile_core,
    compile_engine,
    compile_recommender,
    compile_stand_ins,
    executorch_classes,
)
from android_demo.hosttest.tools import Absent, java_home, run

HOST_TESTS = Path(__file__).with_name("src")


def classpath() -> list[Path]:
    """The app's code as on the phone, the Java API of the Android library, and the stand-ins for fbjni."""
    own = [compile_core(), compile_engine(), compile_recommender()]
    return [*own, executorch_classes(), compile_stand_ins()]


def build_library() -> Path:
    """The native side of the Java API; rebuilt by CMake where a source changed."""
    spec = importlib.util.find_spec("executorch")
    if spec is None or not spec.submodule_search_locations:
        raise Absent("executorch (pip install -e '.[executorch]')")
    config = Path(spec.submodule_search_locations[0]) / "share" / "cmake"
    build = BUILD / "jni"
    settings = {"executorch_DIR": config, "JDK": java_home()}
    run(["cmake", "-S", JNI, "-B", build, *(f"-D{name}={value}" for name, value in settings.items())])
    run(["cmake", "--build", build])
    return build / "libmnet_host_jni.so"
