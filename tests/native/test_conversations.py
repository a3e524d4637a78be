"""The native library in the conversations of `tests/vectors`: it judges their packs, and its app leads the rest.

The app verifies releases and fetches packs; what it then brings to the library is taken or refused as by the Python and
the Kotlin phone. A session that starts on the default weights is a new process.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnet.export.format.packs import MAX_VERSION
from tests.native.conftest import Program

VECTORS = Path(__file__).parents[1] / "vectors"
# Of the release, or of what the network made of its pack: the app finds it before the library sees the pack.
BY_THE_APP = {"wrong_hash", "wrong_size"}

# A pack, and the version that then runs, or the reason for which it is refused.
Judged = tuple[bytes, int | str]


def sessions(steps: list[dict[str, Any]]) -> Iterator[tuple[Judged, ...]]:
    """The packs that each session of a conversation gets, in order."""
    session: list[Judged] = []
    for step in steps:
        outcome, _, reason = step["outcome"].partition(" ")
        fetched = "pack" in step["requests"] and outcome in ("swapped", "refused")
        if fetched and reason not in BY_THE_APP:
            (pack,) = step["answers"]["pack"]
            session.append((base64.b64decode(pack["body"]), reason or step["version"]))
        elif step["version"] == 0:
            yield tuple(session)
            session = []
    yield tuple(session)


def test_every_pack_of_a_conversation_is_judged_as_by_the_other_phones(
    runner: Program, tmp_path: Path
) -> None:
    conversations = json.loads((VECTORS / "conversations.json").read_text(encoding="utf-8"))["vectors"]
    distinct = {session for each in conversations for session in sessions(each["steps"]) if session}
    judged = set()
    for session in distinct:
        paths = [tmp_path / f"{number}.mnetpack" for number in range(len(session))]
        for path, (pack, _) in zip(paths, session, strict=True):
            path.write_bytes(pack)
        result = runner("swap", VECTORS / "exported" / "ranker", *paths, "--json")
        found = json.loads(result.stdout)["swaps"]
        assert [swap.get("reason") or swap["version"] for swap in found] == [each for _, each in session]
        judged |= {each for _, each in session}
    assert len(distinct) >= 6
    assert {1, 5, MAX_VERSION, "self_test_failed"} <= judged
