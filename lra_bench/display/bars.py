"""Progress bars that fit the terminal: they shed the remark first, then shorten the bar."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, Task
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lra_bench.display.fit import fitted

_WIDEST, _NARROWEST = 30, 10  # of the bar, in characters
_SPINNER = Spinner("line")


class Bars(Progress):
    """Bars of rich whose tasks have a field `remark`: parts with two spaces between."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield a line for each bar."""
        for task in self.tasks:
            yield _Line(task)


class _Line:
    """A bar with its label, the count, the time that is left, and as much of a remark as fits."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        task, width = self._task, options.max_width
        ends = [_count(task), _time_left(task)]
        others = sum(map(len, ends)) + 2 + len(ends)  # the spinner, and spaces
        label = task.description[: max(width - others - _NARROWEST - 2, 1)]
        room = width - others - len(label) - 2
        bar = max(min(room, _WIDEST), _NARROWEST)
        parts = task.fields["remark"].split("  ")
        remark = fitted(parts, range(len(parts) - 1, -1, -1), room - bar - 1)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            _SPINNER,
            Text(label),
            ProgressBar(task.total, task.completed, bar, pulse=task.total is None),
            *map(Text, ends),
            Text("  ".join(remark), no_wrap=True),
        )
        yield line


def _count(task: Task) -> str:
    """Return how much is done, such as "120/600"."""
    if task.total is None:
        return f"{int(task.completed):,}"
    total = f"{int(task.total):,}"
    return f"{int(task.completed):>{len(total)},}/{total}"


def _time_left(task: Task) -> str:
    """Return the time that is left, such as "0:03:12"; "-:--:--" if that is not known."""
    left = task.time_remaining
    if left is None:
        return "-:--:--"
    minutes, seconds = divmod(int(left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
