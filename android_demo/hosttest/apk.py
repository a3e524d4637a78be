"""The APK on a plain machine: resources, Kotlin, dex, native libraries, align, sign, verify.

It shows that everything in it fits together. To install, build with Gradle: fbjni, which ExecuTorch's Android library
needs besides it, comes from Maven alone.
"""

import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from android_demo.hosttest.kotlin import (
    BUILD,
    DEMO,
    android_stubs,
    compile_app,
    compile_core,
    compile_engine,
    compile_java,
    executorch_classes,
    stdlib,
)
from android_demo.hosttest.tools import Absent, Failed, debian, debian_libraries, executorch, java_home, run

MIN_SDK, TARGET_SDK = 26, 35
ABIS = ("arm64-v8a", "x86_64")
_TOOLS = "usr/lib/android-sdk/build-tools/debian"


@dataclass(frozen=True)
class Apk:
    """What was built; `classes` are those of the dex file, as dexdump lists them."""

    path: Path
    classes: tuple[str, ...]
    libraries: tuple[str, ...]


def build_apk() -> Apk:
    """Build `build/host/app.apk`, with the bundle that `mnet export --into` left, if any; raises Absent or Failed."""
    folder = BUILD / "apk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    linked, generated = link_resources(folder)
    classes = _dex(folder, compile_app(generated), generated)
    unsigned = folder / "unsigned.apk"
    shutil.copy(linked, unsigned)
    libraries = _add(unsigned, classes)
    aligned, signed = folder / "aligned.apk", BUILD / "app.apk"
    _program("zipalign", "zipalign", "-f", "-p", 4, unsigned, aligned)
    _sign(folder, aligned, signed)
    listed = _program("dexdump", "dexdump", classes)
    names = (line.split("'")[1] for line in listed.splitlines() if "Class descriptor" in line)
    return Apk(signed, tuple(sorted(name.strip("L;").replace("/", ".") for name in names)), libraries)


def _program(package: str, name: str, *arguments: object) -> str:
    tool = debian(package, f"{_TOOLS}/{name}")
    return run([tool, *arguments], environment={"LD_LIBRARY_PATH": debian_libraries()})


def link_resources(folder: Path) -> tuple[Path, Path]:
    """The APK with its resources only, written into `folder`, and the compiled class of their ids."""
    source = DEMO / "app/src"
    manifest = folder / "AndroidManifest.xml"
    text = (source / "main/AndroidManifest.xml").read_text(encoding="utf-8")
    # Gradle takes the package from the build file; aapt2 wants it in the manifest.
    text = text.replace("<manifest ", '<manifest package="mnet.app" ', 1)
    # An attribute of API 31; the newest resources of Debian are those of API 29.
    text = text.replace('android:dataExtractionRules="@xml/data_extraction"', "")
    manifest.write_text(text, encoding="utf-8")
    linked, java = folder / "resources.apk", folder / "java"
    compiled = [folder / f"{kind}.zip" for kind in ("main", "debug")]
    for archive in compiled:
        _program("aapt", "aapt2", "compile", "--dir", source / archive.stem / "res", "-o", archive)
    framework = debian("android-framework-res", "usr/share/android-framework-res/framework-res.apk")
    options = ["--min-sdk-version", MIN_SDK, "--target-sdk-version", TARGET_SDK, "--auto-add-overlay"]
    versions = ["--version-code", 1, "--version-name", "0.1", "--debug-mode"]
    kept = ["--proguard", folder / "manifest.pro"]
    files = ["-I", framework, "--manifest", manifest, "--java", java, "-o", linked]
    # The debug build's resources replace those of main.
    overlay = [word for archive in compiled[1:] for word in ("-R", archive)]
    _program("aapt", "aapt2", "link", *options, *versions, *kept, *files, *overlay, compiled[0])
    return linked, compile_java("app-resources", java, release=8)


def _dex(folder: Path, app: Path, generated: Path) -> Path:
    """`classes.dex` of the app and of what it reaches, shrunk by the rules that a release build has."""
    jar, dex = folder / "classes.jar", folder / "classes.dex"
    # ExecuTorch's classes are of Java 11; dx reads those of Java 8.
    rules = [f"-injars {part}" for part in (app, generated, compile_engine(), compile_core())]
    rules += [f"-injars {part}(!META-INF/**)" for part in (executorch_classes(), stdlib())]
    rules += [f"-outjars {jar}", f"-libraryjars {android_stubs()}"]
    rules += ["-target 1.8", "-dontobfuscate", "-dontoptimize", "-dontwarn **", "-dontnote **"]
    rules += [f"-include {folder / 'manifest.pro'}", f"-include {DEMO / 'engine/consumer-rules.pro'}"]
    (folder / "rules.pro").write_text("\n".join(rules), encoding="utf-8")
    java = [java_home() / "bin/java", "-Xmx1500m"]
    run(
        [*java, "-jar", debian("libproguard-java", "usr/share/java/proguard.jar"), f"@{folder / 'rules.pro'}"]
    )
    compiler = debian("dalvik-exchange", "usr/share/java/com.android.dx-10.0.0.jar")
    command = [*java, "-cp", compiler, "com.android.dx.command.Main", "--dex"]
    run([*command, f"--min-sdk-version={MIN_SDK}", f"--output={dex}", jar])
    return dex


def _add(apk: Path, classes: Path) -> tuple[str, ...]:
    """Put code, native libraries and assets into the APK; returns the names of the libraries."""
    source = DEMO / "app/src/main"
    assets = (path for path in (source / "assets").rglob("*") if path.is_file())
    libraries = {
        f"lib/{abi}/libexecutorch.so": executorch(
            f"third-party/android/libs/executorch/{abi}/libexecutorch.so"
        )
        for abi in ABIS
    }
    files = {"classes.dex": classes, **libraries, **{str(path.relative_to(source)): path for path in assets}}
    with zipfile.ZipFile(apk, "a", zipfile.ZIP_DEFLATED) as file:
        for name, path in files.items():
            file.write(path, name)
    return tuple(libraries)


def _sign(folder: Path, aligned: Path, signed: Path) -> None:
    """Sign with a key made for this build, as debug builds are, and verify."""
    keys, home = folder / "debug.jks", java_home()
    name = ["-alias", "debug", "-dname", "CN=mnet debug", "-keyalg", "RSA", "-validity", 30]
    secret = ["-storepass", "android", "-keypass", "android"]
    run([home / "bin/keytool", "-genkeypair", "-keystore", keys, *name, *secret])
    signer = [home / "bin/java", "-jar", debian("apksigner", "usr/share/java/apksigner.jar")]
    version = ["--min-sdk-version", MIN_SDK]
    run([*signer, "sign", "--ks", keys, "--ks-pass", "pass:android", *version, "--out", signed, aligned])
    run([*signer, "verify", *version, "--verbose", signed])


def main() -> None:
    """Build the APK and say what is in it; a step that lacks a tool is skipped by name."""
    try:
        apk = build_apk()
    except Absent as absent:
        print(f"APK skipped, absent: {absent}")
        return
    except Failed as failure:
        sys.exit(f"APK: {failure}")
    own = [name for name in apk.classes if name.startswith("mnet.")]
    for entry in ("mnet.app.MainActivity", "mnet.engine.ExecuTorchProgram", "mnet.core.SwapController"):
        if entry not in own:
            sys.exit(f"APK: the dex file lacks {entry}")
    size = apk.path.stat().st_size / 1e6
    print(
        f"APK {apk.path}: {size:.1f} MB, signed and verified; {len(own)} classes of ours among {len(apk.classes)}"
    )
    print(f"  {', '.join(apk.libraries)}")


if __name__ == "__main__":
    main()
