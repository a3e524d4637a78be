"""The reference says what the code says."""

from tests.docs import diagram
from tests.docs.reference import FOLDER, pages


def test_every_config_key_has_a_meaning() -> None:
    rows = [line for line in pages()["config.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |")]


def test_it_is_up_to_date() -> None:
    for name, text in pages().items():
        written = (FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"{name} is stale: run `python -m tests.docs.reference`"


def test_the_diagram_is_up_to_date() -> None:
    assert diagram.FILE.read_text(encoding="utf-8") == diagram.draw(), "run `python -m tests.docs.diagram`"
