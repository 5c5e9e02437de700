"""What a person sees: lines, and on a terminal a bar beneath them."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, str], None]
_REFRESH_SECONDS = 0.2


class Display:
    """Lines go to standard output. Bars appear only if that is a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, soft_wrap=True)

    def line(self, text: str = "") -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(text)

    @contextlib.contextmanager
    def bar(self, label: str, total: int | None, start: int = 0) -> Iterator[Advance]:
        """A bar while the block runs; the function it gives takes what is done and a remark."""
        if not self._console.is_terminal:
            yield lambda _done, _remark: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[remark]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(label, total=total, completed=start, remark="")
            shown = 0.0

            def advance(done: int, remark: str) -> None:
                nonlocal shown
                if (now := time.monotonic()) - shown >= _REFRESH_SECONDS:
                    shown = now
                    progress.update(task, completed=done, remark=remark)

            yield advance
