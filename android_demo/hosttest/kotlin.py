"""Kotlin and Java on this machine: the app's code against Android's API, the tests against the JDK, run by JUnit 5."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from android_demo.hosttest.tools import Absent, Failed, debian, executorch, java_home, kotlin_jar, run

DEMO = Path(__file__).resolve().parent.parent
BUILD = DEMO / "build" / "host"
CORE_TESTS = DEMO / "core/src/test"
LITERT_TESTS = DEMO / "litert/src/test"
JNI = Path(__file__).with_name("jni")
PAGE_TESTS = Path(__file__).with_name("page")
COROUTINES_TESTS = DEMO / "coroutines/src/test"

# What minSdk 26 has beyond the newest stubs that Debian has (API 23), taken from the JDK.
_NEWER = ("nio/file", "nio/channels/(FileChannel|SeekableByteChannel)", "util/Base64", r"io/File\.class")
_SINCE_API_23 = f"regex:/java.base/java/({'|'.join(_NEWER)}).*"
# As the Gradle build; class files that the dex compiler `dx` reads.
_KOTLIN_OPTIONS = (
    *("-language-version", "2.1", "-jvm-target", "1.8", "-Xlambdas=class", "-Xsam-conversions=class"),
    *("-Xstring-concat=inline", "-Werror"),
)
_FOR_ANDROID = (*_KOTLIN_OPTIONS, "-no-jdk")
# As explicitApi() of core and engine: what is public says so, with its type.
_LIBRARY = "-Xexplicit-api=strict"
# As core/build.gradle.kts, which compiles against the JDK.
JDK_API = "-Xjdk-release=1.8"


def stdlib() -> Path:
    """Kotlin's standard library."""
    return kotlin_jar("kotlin-stdlib-2.3.10-RC.jar")


def android_stubs() -> Path:
    """The classes of Android's API 23."""
    return debian("libandroid-23-java", "usr/share/java/com.android.android-23.jar")


def android_api() -> list[Path]:
    """The classes of Android's API: the stubs, and what minSdk 26 has beyond them."""
    newer = BUILD / "api-26"
    if not newer.is_dir():
        part = newer.with_name("api-26.part")
        shutil.rmtree(part, ignore_errors=True)
        jdk = java_home()
        extract = [jdk / "bin/jimage", "extract", "--dir", part, "--include", _SINCE_API_23]
        run([*extract, jdk / "lib/modules"])
        part.rename(newer)
    return [newer / "java.base", android_stubs()]


def compile_core() -> Path:
    """The core, against Android's API: one that Android lacks is a compile error."""
    return _compile("core", DEMO / "core/src/main", [*android_api(), stdlib()], [*_FOR_ANDROID, _LIBRARY])


def compile_core_for_gradle() -> Path:
    """The core as Gradle compiles it: against the JDK that runs it, held to the API of Java 8."""
    return _compile("core-gradle", DEMO / "core/src/main", [stdlib()], [*_KOTLIN_OPTIONS, _LIBRARY, JDK_API])


def compile_engine() -> Path:
    """The engine, against Android's API and the real classes of ExecuTorch's Android library."""
    classpath = [compile_core(), executorch_classes(), *android_api(), stdlib()]
    return _compile("engine", DEMO / "engine/src/main", classpath, [*_FOR_ANDROID, _LIBRARY])


def compile_litert() -> Path:
    """The program on LiteRT, against Android's API and the signatures of LiteRT's."""
    classpath = [compile_core(), compile_litert_api(), *android_api(), stdlib()]
    return _compile("litert", DEMO / "litert/src/main", classpath, [*_FOR_ANDROID, _LIBRARY])


def compile_litert_api() -> Path:
    """LiteRT's Java API over the runtime of the Python wheel."""
    return compile_java("litert-api", DEMO / "hosttest/litert")


def coroutines_jar() -> Path:
    """kotlinx.coroutines 1.10.2, which the compiler's jar carries."""
    return kotlin_jar("kotlin-jupyter-kernel-0.19.0-944-all.jar")


def compile_coroutines() -> Path:
    """The phone for coroutines, against Android's API."""
    classpath = [compile_core(), coroutines_jar(), *android_api(), stdlib()]
    return _compile("coroutines", DEMO / "coroutines/src/main", classpath, [*_FOR_ANDROID, _LIBRARY])


def compile_work() -> Path:
    """The worker, against Android's API and stand-ins for WorkManager."""
    classpath = [
        compile_core(),
        compile_coroutines(),
        compile_androidx(),
        coroutines_jar(),
        *android_api(),
        stdlib(),
    ]
    return _compile("work", DEMO / "work/src/main", classpath, [*_FOR_ANDROID, _LIBRARY])


def compile_androidx() -> Path:
    """Stand-ins for WorkManager."""
    return _compile(
        "androidx", DEMO / "hosttest/androidx", [coroutines_jar(), *android_api(), stdlib()], _FOR_ANDROID
    )


def compile_page(text: str) -> Path:
    """The Kotlin of a page, one source, against Android's API and all libraries for ExecuTorch."""
    source = BUILD / "page-source" / "Page.kt"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    libraries = [compile_core(), compile_engine(), compile_coroutines(), compile_work(), compile_androidx()]
    return _compile(
        "page", source.parent, [*libraries, coroutines_jar(), *android_api(), stdlib()], _FOR_ANDROID
    )


def compile_recommender() -> Path:
    """The app without its screens, which needs nothing of Android."""
    return _compile(
        "recommender",
        DEMO / "app/src/main/kotlin/mnet/app/recommender",
        [compile_core(), *android_api(), stdlib()],
        _FOR_ANDROID,
    )


def compile_app(generated: Path) -> Path:
    """The app with its resource ids in `generated` (Java), against Android's API."""
    classpath = [compile_core(), compile_engine(), generated, *android_api(), stdlib()]
    return _compile("app", DEMO / "app/src/main", classpath, _FOR_ANDROID)


def executorch_classes() -> Path:
    """ExecuTorch's Java API: that of its Android library, or of the sources that `MNET_EXECUTORCH_SOURCES` names.

    These are the folder `extension/android/executorch_android/src/main/java` of ExecuTorch's repository.
    """
    sources = os.environ.get("MNET_EXECUTORCH_SOURCES")
    if sources is None:
        return executorch("android/libs/classes.jar")
    package = Path(sources) / "org/pytorch/executorch"
    # Not its language models, which need newer Androids than ours.
    files = sorted([*package.glob("*.kt"), *package.glob("annotations/*.kt")])
    if not files:
        raise Absent(f"ExecuTorch's Java API in {sources}, which MNET_EXECUTORCH_SOURCES names")
    classpath = [compile_stand_ins(), *android_api(), stdlib()]
    theirs = [option for option in _FOR_ANDROID if option != "-Werror"]
    return _compile_files("executorch-api", files, classpath, theirs)


def compile_stand_ins() -> Path:
    """The few classes of fbjni and its loader that ExecuTorch's Java API needs."""
    return compile_java("stand-ins", JNI)


def compile_tests(name: str, sources: Path, classpath: Sequence[Path]) -> Path:
    """JUnit tests, against the JDK and `classpath`, whose internals they may use, as in a Gradle build."""
    path = [*classpath, junit_jar(), stdlib()]
    friends = f"-Xfriend-paths={','.join(map(str, path))}"
    return _compile(name, sources, path, ["-language-version", "2.1", "-jvm-target", "17", friends])


def junit_jar() -> Path:
    """JUnit 5 with its console launcher."""
    return debian("junit5", "usr/share/java/junit-platform-console-standalone.jar")


def run_tests(
    tests: Path, classpath: Sequence[Path], properties: dict[str, object], only: str | None = None
) -> int:
    """Run the JUnit tests below `tests`, or the class `only`; returns how many passed, raises Failed otherwise."""
    path = ":".join(map(str, [tests, *classpath, stdlib(), junit_jar()]))
    options = [f"-D{name}={value}" for name, value in properties.items()]
    chosen = ["--scan-classpath", tests] if only is None else ["--select-class", only]
    command = [java_home() / "bin/java", "-Xmx1g", *options, "-cp", path]
    launcher = "org.junit.platform.console.ConsoleLauncher"
    printed = run(
        [*command, launcher, *chosen, "--disable-banner", "--disable-ansi-colors", "--details=tree"]
    )
    found, passed = (_count(printed, what) for what in ("found", "successful"))
    if passed == 0 or passed < found:
        raise Failed(f"{passed} of {found} JUnit tests passed:\n{printed}")
    return passed


def _count(printed: str, what: str) -> int:
    match = re.search(rf"\[\s*(\d+) tests {what}", printed)
    return 0 if match is None else int(match.group(1))


def compile_java(name: str, sources: Path, release: int = 17) -> Path:
    """Class files of Java; those of Java 8 are for the dex compiler too."""
    files = sorted(sources.rglob("*.java"))
    options = ["--release", str(release), "-Xlint:-options"]
    command = [java_home() / "bin/javac", *options, *files, "-d"]
    return _compiled_anew(name, _digest(files, options), command)


def _compile(name: str, sources: Path, classpath: Sequence[Path], more: Sequence[str]) -> Path:
    """Class files of all Kotlin in a folder."""
    return _compile_files(name, sorted(sources.rglob("*.kt")), classpath, more)


def _compile_files(name: str, files: Sequence[Path], classpath: Sequence[Path], more: Sequence[str]) -> Path:
    path = list(map(str, classpath))
    options = ["-no-stdlib", "-no-reflect", "-classpath", ":".join(path), *more]
    compiler = [
        kotlin_jar("kotlin-jupyter-kernel-0.19.0-944-all.jar"),
        stdlib(),
        kotlin_jar("kotlin-reflect-2.3.10-RC.jar"),
    ]
    # A compiler that runs for seconds is done before the second JIT would pay.
    command = [java_home() / "bin/java", "-Xmx1500m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    command += ["-cp", ":".join(map(str, compiler)), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    return _compiled_anew(name, _digest(files, [*path, *options]), [*command, *options, *files, "-d"])


def _compiled_anew(name: str, key: str, command: Sequence[object]) -> Path:
    """The class files that `command` writes, run only when a source, an input or an option changed."""
    target, stamp = BUILD / name, BUILD / f"{name}.sha256"
    if target.is_dir() and stamp.is_file() and stamp.read_text() == key:
        return target
    stamp.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    run([*command, target])
    stamp.write_text(key)
    return target


def _digest(files: Iterable[Path], options: Iterable[str]) -> str:
    """Of everything that the class files depend on; a class folder counts by its own stamp, a jar by its path."""
    digest = hashlib.sha256()
    for option in options:
        stamp = Path(f"{option}.sha256")
        digest.update(f"{option}\0{stamp.read_text() if stamp.is_file() else ''}\0".encode())
    for file in files:
        digest.update(f"{file}\0".encode() + file.read_bytes())
    return digest.hexdigest()
