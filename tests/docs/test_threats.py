"""Each row of the threat model names the tests that show it, and these exist."""

import json
import re

import pytest

from tests.docs.markdown import ROOT

VECTORS = ROOT / "tests" / "vectors"
TABLE = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8").partition("| attack | state |")[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.partition("\n\n")[0].splitlines()[2:]
]
# As the two lists call them; "vulnerability to key compromises" is in two rows, and Uptane's mixed bundles are one.
LISTED = (
    *("arbitrary software", "endless data", "extraneous dependencies", "fast-forward", "indefinite freeze"),
    *(
        "mirror that prevents updates",
        "mix and match",
        "roll-back",
        "slow retrieval",
        "theft of the online signing key",
    ),
    *(
        "theft of a threshold",
        "wrong-software",
        "read updates",
        "drop-request",
        "partial bundles",
        "partial installation",
    ),
)
KINDS = {each["kind"] for each in json.loads((VECTORS / "vectors.json").read_bytes())["vectors"]}
NAMES = {each["name"] for each in json.loads((VECTORS / "conversations.json").read_bytes())["vectors"]}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_is_said_to_hold_is_shown_by_what_is_there(row: list[str]) -> None:
    attack, state, _, shown = row
    named = re.findall(r"`([^`]+)`", shown)
    assert named or state.startswith("open"), f"{attack}: nothing shows it"
    for each in named:
        if each.endswith((".py", ".kt", "tests/android")):
            assert (ROOT / each).exists() or [*(ROOT / "android_demo" / "core").glob(f"**/{each}")], each
        elif each not in KINDS:
            assert any(name.startswith(each.rstrip("… ")) for name in NAMES), f"no conversation {each}"


@pytest.mark.parametrize("attack", LISTED)
def test_every_listed_attack_has_a_row(attack: str) -> None:
    assert any(attack in row[0] for row in ROWS)
