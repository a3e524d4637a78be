"""The core's own JUnit tests, on the JVM, compiled against Android's API, and as Gradle compiles it."""

import re
from pathlib import Path

from android_demo.hosttest import kotlin
from android_demo.hosttest.kotlin import run_tests
from android_demo.hosttest.tools import java_home, run
from tests.android.conftest import REPOSITORY, or_skip


def test_the_core_passes_its_tests(core_tests: tuple[Path, list[Path]]) -> None:
    tests, classpath = core_tests
    assert run_tests(tests, classpath, {"mnet.vectors": REPOSITORY / "tests" / "vectors"}) > 100


def test_gradle_holds_the_core_to_the_api_that_old_androids_have() -> None:
    build = (kotlin.DEMO / "core" / "build.gradle.kts").read_text()
    assert f'freeCompilerArgs.add("{kotlin.JDK_API}")' in build
    classes = sorted(or_skip(kotlin.compile_core_for_gradle).rglob("*.class"))
    code = run([java_home() / "bin/javap", "-c", "-p", *classes])
    # These signatures are of Java 9: on an old Android there is no such method.
    assert "java/nio/Buffer.rewind:" in code
    assert not re.search(r"ByteBuffer\.(rewind|flip|clear|limit|position):\S*\)Ljava/nio/ByteBuffer;", code)
