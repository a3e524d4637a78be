"""The reference says what the code says."""

from tests.docs import diagram
from tests.docs.reference import FOLDER, pages


def test_it_is_up_to_date() -> None:
    for name, text in pages().items():
        written = (FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"{name} is stale: run `python -m tests.docs.reference`"


def test_the_diagram_is_up_to_date() -> None:
    assert diagram.FILE.read_text(encoding="utf-8") == diagram.draw(), "run `python -m tests.docs.diagram`"
