"""One self-contained HTML page: no script, no font, no picture from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

from mnet.export.bench.pictures import Made


@dataclass(frozen=True)
class Card:
    """One figure that a reader should remember: `value` with its unit, and what it is."""

    value: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, then tables and SVG figures; `command` reproduces what is shown."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    figures: Sequence[str] = ()
    command: str = ""


@dataclass(frozen=True)
class Answer:
    """A question that anybody would ask, and the answer in plain words."""

    question: str
    text: str


@dataclass(frozen=True)
class Page:
    """The whole report; `answers` are for readers who are no engineers."""

    title: str
    lead: str
    answers: Sequence[Answer] = ()
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=tuple)

    def html(self) -> str:
        """The page as one HTML document; every text is escaped, figures are our own SVG."""
        environment = Environment(
            loader=PackageLoader("mnet.toolchain.report", "."),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("page.html.j2").render(page=self, unbroken=_unbroken, made=Made.now())


def _unbroken(cell: str) -> str:
    """The cell with its deviation and its interval each in one piece, where a narrow screen breaks lines."""
    return cell.replace("± ", "±\u00a0").replace("%, ", "%,\u00a0")
