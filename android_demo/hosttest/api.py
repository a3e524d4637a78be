"""What the libraries offer, as text: a change of it is a change of the API, and is seen in review.

`python -m android_demo.hosttest.api` writes `api.txt` beside each library's build file, from its class files by javap.
"""

from pathlib import Path

from android_demo.hosttest import kotlin
from android_demo.hosttest.tools import java_home, run

LIBRARIES = {
    "core": kotlin.compile_core,
    "engine": kotlin.compile_engine,
    "litert": kotlin.compile_litert,
    "coroutines": kotlin.compile_coroutines,
    "work": kotlin.compile_work,
}


def dump_of(classes: Path) -> str:
    """The public and protected members below `classes`, in the order of their names."""
    files = sorted(file for file in classes.rglob("*.class") if not _is_private(file.stem))
    lines = run([java_home() / "bin/javap", "-protected", *files]).splitlines()
    blocks: list[list[str]] = []
    for line in lines:
        if line.startswith("Compiled from"):
            blocks.append([])
        else:
            blocks[-1].append(line.rstrip())
    kept = (block for block in blocks if block[0].startswith(("public ", "protected ")))
    return (
        "\n".join("\n".join([head, *sorted(members), "}"]) for head, *members in map(_without_end, kept))
        + "\n"
    )


def _is_private(name: str) -> bool:
    """A lambda or another class that the compiler made up."""
    return any(part[:1].isdigit() for part in name.split("$")[1:]) or "$sam$" in name or "$inlined$" in name


def _without_end(block: list[str]) -> list[str]:
    # What Kotlin calls internal has a mangled name, and is nobody's API.
    return [
        line for line in block if line.strip() != "}" and "$" not in line.partition("(")[0].rpartition(" ")[2]
    ]


def main() -> None:
    """Write the dump of each library."""
    for name, compiled in LIBRARIES.items():
        (kotlin.DEMO / name / "api.txt").write_text(dump_of(compiled()), encoding="utf-8")


if __name__ == "__main__":
    main()
