"""What a person sees: lines, and on a terminal a bar beneath them."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

_REFRESH_SECONDS = 0.2
_LINE_SECONDS = 30.0


class Advance(Protocol):
    """What a bar is told: how much is done, a remark, and out of how many, if that changed."""

    def __call__(self, done: int, remark: str, total: int | None = None, /) -> None:  # noqa: D102
        ...


class Display:
    """Lines go to standard output, with a bar beneath if that is a terminal.

    Elsewhere a line now and then says how far a long step has come.

    Args:
        quiet: say nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        # The stream of now: some libraries redirect standard output to be quiet.
        out = sys.stdout
        self._console = Console(
            file=out, highlight=False, markup=False, soft_wrap=True, quiet=quiet
        )

    @property
    def is_terminal(self) -> bool:
        """Whether a person may be watching."""
        return self._console.is_terminal

    def show(self, what: RenderableType) -> None:
        """Print a table or the like; as wide as it is where nobody watches."""
        self._console.print(what)

    @contextlib.contextmanager
    def live(self, render: Callable[[], RenderableType]) -> Iterator[None]:
        """Keep what `render` gives beneath the lines while the block runs; terminals only."""
        if not self.is_terminal:
            yield
            return
        with Live(
            console=self._console, get_renderable=render, refresh_per_second=2, transient=True
        ):
            yield

    def line(self, text: str = "") -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(text)

    def verdict(self, ok: bool | None, text: str) -> None:
        """A line that says ok, WRONG or, for None, note; in colour on a terminal."""
        words = {
            True: ("ok    ", "green"),
            False: ("WRONG ", "bold red"),
            None: ("note  ", "yellow"),
        }
        self._console.print(Text(*words[ok]).append(text, "red" if ok is False else "default"))

    def example(self, title: str, text: str) -> None:
        """An example under its title; on a terminal with numbers and brackets in colour."""
        self._console.print(Text(title, "bold"))
        self._console.print(text, highlight=True)
        self._console.print()

    @contextlib.contextmanager
    def bar(self, label: str, total: int | None, start: int = 0) -> Iterator[Advance]:
        """A bar while the block runs; the function it gives is told how far that is."""
        if self._console.quiet or not self._console.is_terminal:
            yield self._lines(label, total)
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

            def advance(done: int, remark: str, total: int | None = total, /) -> None:
                nonlocal shown
                if (now := time.monotonic()) - shown >= _REFRESH_SECONDS:
                    shown = now
                    progress.tasks[task].total = total  # update() can't make it unknown again
                    progress.update(task, completed=done, remark=remark)

            yield advance

    def _lines(self, label: str, total: int | None) -> Advance:
        shown = time.monotonic()

        def advance(done: int, remark: str, total: int | None = total, /) -> None:
            nonlocal shown
            if (now := time.monotonic()) - shown >= _LINE_SECONDS:
                shown = now
                of = f" of {total:,}" if total else ""
                self.line(f"{label}: {done:,}{of} {remark}".rstrip())

        return advance
