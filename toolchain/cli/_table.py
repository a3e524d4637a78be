"""Results as people read them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def text_table(header: Iterable[str], rows: Iterable[Sequence[str]], title: str | None = None) -> "Table":
    """A table for the console."""
    from rich.table import Table

    table = Table(*header, title=title)
    for row in rows:
        table.add_row(*row)
    return table
