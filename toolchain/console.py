"""What people read while a command works, and of its results.

User text is never read as markup. Tables have boxes, and work in progress has bars, on a terminal only: in a log a
table is plain, and each stage is one line. Colour follows `NO_COLOR`, which Rich honours.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

_T = TypeVar("_T")

EVERY_S = 10.0  # between two lines of one stage in a log
LOG_WIDTH = 1000  # no line of a log is folded


class Printer(Console):
    """A console that prints text as it is, whole lines of it, and tables that fit where they go."""

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = LOG_WIDTH

    def print(self, *objects: Any, **options: Any) -> None:
        """As Rich prints, but text is not folded and a table in a log has no box."""
        if all(isinstance(each, str | Text) for each in objects):
            options.setdefault("soft_wrap", True)
        if len(objects) == 1 and isinstance(objects[0], Table):
            self._print_table(objects[0])
        else:
            super().print(*objects, **options)

    def rule(self, title: str = "", **options: Any) -> None:  # type: ignore[override]
        """A line with a title; in a log the title alone."""
        if self.is_terminal:
            super().rule(title, **options)
        else:
            self.print(title)

    def _print_table(self, table: Table) -> None:
        """Cells are folded where the terminal is narrow, and never cut."""
        for column in table.columns:
            column.overflow = "fold"
        if self.is_terminal:
            super().print(table)
            return
        title, caption = table.title, table.caption
        table.box, table.title, table.caption = None, None, None
        for part in (title, table, caption):
            if part is not None:
                super().print(part, soft_wrap=part is not table)


def text_table(header: Iterable[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table of text."""
    table = Table(*header, title=title)
    for row in rows:
        table.add_row(*row)
    return table


class Bars(Progress):
    """A bar for each stage on a terminal; in a log one line when a stage starts, every ten seconds, and at its end."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        text = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
        if not columns:
            columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        super().__init__(text, *columns, console=console, disable=not console.is_terminal)
        self._printed: dict[TaskID, tuple[str, float]] = {}

    def add_task(self, description: str, *arguments: Any, **options: Any) -> TaskID:
        """As of Rich."""
        task = super().add_task(description, *arguments, **options)
        self._report(task)
        return task

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As of Rich."""
        super().update(task_id, **changes)
        self._report(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As of Rich."""
        super().advance(task_id, advance)
        self._report(task_id)

    def _report(self, task_id: TaskID) -> None:
        if not self.disable or task_id not in self._tasks:
            return
        task = self._tasks[task_id]
        said, when = self._printed.get(task_id, ("", 0.0))
        count = f": {task.completed:,.0f} of {task.total:,.0f}" if task.total and task.completed else ""
        line, now = f"{task.description}{count}", time.monotonic()
        new = not said.startswith(task.description)
        if task.description and line != said and (new or task.finished or now - when >= EVERY_S):
            self._printed[task_id] = (line, now)
            self.console.print(line)


class Stages(Bars):
    """Stages whose length nobody knows: a spinner and the time that each took; in a log a line when each starts."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, TimeElapsedColumn())
        self.columns = (SpinnerColumn(finished_text="✓"), *self.columns)

    def stage(self, line: str) -> None:
        """The stage before is done, and this one starts."""
        self.finish()
        self.add_task(line, total=None)

    def finish(self) -> None:
        """The last stage is done."""
        for task in self.task_ids:
            Progress.update(self, task, total=1, completed=1)


def track(
    values: Iterable[_T], description: str, total: float | None = None, *, console: Console
) -> Iterator[_T]:
    """The values, with a bar that follows their use."""
    with Bars(console) as bars:
        yield from bars.track(values, total=total, description=description)
