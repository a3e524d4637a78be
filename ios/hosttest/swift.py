"""Swift on this machine: the package's targets as SwiftPM would compile them, one after the other, by `swiftc`.

What imports a framework of Apple's is compiled against `ios/StandIns`, and only compiled.
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from android_demo.hosttest.tools import Failed, run
from ios.hosttest.debian import REPOSITORY, inside

PACKAGE = Path(__file__).resolve().parent.parent
BUILD = PACKAGE / "build" / "host"
# Without the last one the front end reads everything twice.
_OPTIONS = ("-warnings-as-errors", "-enable-testing", "-wmo", "-no-emit-module-separately-wmo")


@dataclass(frozen=True)
class Target:
    """A target of the package: where its sources are, and the targets that it imports.

    A target of `main` is a program; all others are modules. `language` is the version of Swift that it is written in.
    """

    name: str
    sources: str
    uses: tuple["Target", ...] = ()
    main: bool = False
    language: str = "6"

    @property
    def all_used(self) -> list["Target"]:
        """The targets that it imports, and those that these import, each once."""
        found = [other for each in self.uses for other in (*each.all_used, each)]
        return list(dict.fromkeys(found))


CORE = Target("MNetCore", "Sources/MNetCore")
VECTORS = Target("MNetVectors", "Tests/MNetVectors", (CORE,))
CORE_TESTS = Target("MNetCoreTests", "Tests/MNetCoreTests", (CORE, VECTORS))
COREML_STAND_IN = Target("CoreML", "StandIns/CoreML")
COREML = Target("MNetCoreML", "Sources/MNetCoreML", (CORE, COREML_STAND_IN))
DARWIN_STAND_IN = Target("Darwin", "StandIns/Darwin", language="5")
COREML_TESTS = Target("MNetCoreMLTests", "Tests/MNetCoreMLTests", (CORE, VECTORS, COREML, DARWIN_STAND_IN))
EXECUTORCH_STAND_IN = Target("ExecuTorch", "StandIns/ExecuTorch")
EXECUTORCH = Target("MNetExecuTorch", "ExecuTorch/Sources/MNetExecuTorch", (CORE, EXECUTORCH_STAND_IN))
CRYPTOKIT_STAND_IN = Target("CryptoKit", "StandIns/CryptoKit")
SWIFTUI_STAND_INS = (
    Target("SwiftUI", "StandIns/SwiftUI"),
    Target("BackgroundTasks", "StandIns/BackgroundTasks"),
)
EXAMPLE = Target("Example", "Example", (CORE, COREML, *SWIFTUI_STAND_INS))
JUDGE = Target("Judge", "Tests/Judge", (CORE, VECTORS, COREML), main=True)


def place(file: Path) -> str:
    """The path for a program in the folder of Swift of a file below the package."""
    return _there(file)


def program(target: Target) -> list[str]:
    """The command that runs a program, compiled."""
    return inside(_there(compiled(target) / target.name))


def compiled(target: Target) -> Path:
    """The folder of what a target was compiled to, and of its uses'; only what changed is compiled again.

    Raises Absent without Swift, Failed with the compiler's words.
    """
    uses = [compiled(each) for each in target.all_used]
    sources = _sources(target)
    options = [*_OPTIONS, "-swift-version", target.language, "-module-name", target.name]
    for folder in uses:
        options += ["-I", _there(folder)]
    options += ["-I", _there(PACKAGE / "Sources/CMNetOpenSSL/include")]
    objects = [_there(folder / f"{each.name}.o") for folder, each in zip(uses, target.all_used, strict=True)]
    folder = BUILD / target.name
    if target.main:
        options += [*objects, _there(_crypto()), "-lcrypto", "-o", _there(folder / target.name)]
    else:
        module = _there(folder / f"{target.name}.swiftmodule")
        options += ["-parse-as-library", "-emit-module", "-emit-module-path", module]
        options += ["-c", "-o", _there(folder / f"{target.name}.o")]
    key = _digest(sources, [*options, *(_stamp(each).read_text() for each in uses)])
    _compile(folder, key, ["swiftc", *options, *map(_there, sources)])
    return folder


def run_tests(tests: Target) -> int:
    """Compile and run the XCTest cases of a target; returns how many passed, raises Failed otherwise."""
    text = _main(tests.name, [path.read_text() for path in _sources(tests)])
    # Off Apple's systems XCTest takes test cases as values that any thread may call, which Swift 6 does not let pass.
    runner = replace(written(f"Run{tests.name}", text, (*tests.uses, tests)), main=True, language="5")
    printed = run(program(runner))
    # One line for each class, and one for all of them.
    passed = max(map(int, re.findall(r"Executed (\d+) tests?, with 0 failures", printed)), default=0)
    if passed == 0:
        raise Failed(f"no test passed:\n{printed[-4000:]}")
    return passed


def written(name: str, text: str, uses: tuple[Target, ...]) -> Target:
    """The target of one source file that holds `text`."""
    sources = BUILD / f"{name}-source"
    sources.mkdir(parents=True, exist_ok=True)
    (sources / "main.swift").write_text(text)
    return Target(name, str(sources.relative_to(PACKAGE)), uses)


def _sources(target: Target) -> list[Path]:
    return sorted((PACKAGE / target.sources).rglob("*.swift"))


def _main(module: str, sources: Sequence[str]) -> str:
    """The program that runs all tests: off Apple's systems, XCTest has to be told which there are."""
    lines = []
    for text in sources:
        for case, body in re.findall(
            r"^final class (\w+): XCTestCase \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE
        ):
            tests = ", ".join(
                f'("{test}", {f"asyncTest({case}.{test})" if more else f"{case}.{test}"})'
                for test, more in re.findall(r"func (test\w+)\(\)( async)?", body)
            )
            lines.append(f"    testCase([{tests}]),\n")
    return f"import XCTest\n\n@testable import {module}\n\nXCTMain([\n{''.join(lines)}])\n"


def _crypto() -> Path:
    """The object file of `CMNetOpenSSL`."""
    folder, sources = BUILD / "CMNetOpenSSL", PACKAGE / "Sources/CMNetOpenSSL"
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I", _there(sources / "include")]
    files = sorted(path for path in sources.rglob("*") if path.is_file())
    command = [
        "clang",
        *options,
        "-c",
        _there(sources / "mnet_openssl.c"),
        "-o",
        _there(folder / "mnet_openssl.o"),
    ]
    _compile(folder, _digest(files, options), command)
    return folder / "mnet_openssl.o"


def _compile(folder: Path, key: str, command: Sequence[str]) -> None:
    """Run a compiler that fills `folder`, only where a source, an option or what it uses changed."""
    stamp = _stamp(folder)
    if stamp.is_file() and stamp.read_text() == key:
        return
    words = inside(*command)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run(words)
    stamp.write_text(key)


def _stamp(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sha256")


def _digest(files: Sequence[Path], options: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(options).encode())
    for file in files:
        digest.update(f"{file}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _there(path: Path) -> str:
    """A file of the package by its path for the compiler."""
    return str(REPOSITORY / path.relative_to(PACKAGE.parent))
