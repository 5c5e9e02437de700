"""Print lines, and show a progress bar below them on a terminal."""

import contextlib
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from lra_bench.display.bars import Bars
from lra_bench.display.busy import aside, busy
from lra_bench.display.escape import lines, terminal
from lra_bench.display.fit import fitted

_REFRESH_SECONDS = 0.2
_LINE_SECONDS = 30.0


class Advance(Protocol):
    """Update a bar: how much is done, a remark, and the total if it has changed."""

    def __call__(self, done: int, remark: str, total: int | None = None, /) -> None:  # noqa: D102
        ...


class Display:
    """Print lines to standard output, with a progress bar below them on a terminal.

    If standard output is no terminal, a line every 30 seconds says how far a long step is.

    Args:
        quiet: print nothing.
        verbose: print details too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.is_verbose = verbose
        # Keep the current stream: some libraries redirect standard output to be quiet.
        out = sys.stdout
        self._console = Console(
            file=out, highlight=False, markup=False, emoji=False, soft_wrap=True, quiet=quiet
        )

    @property
    def is_terminal(self) -> bool:
        """Return whether standard output is a terminal."""
        return self._console.is_terminal

    @property
    def is_quiet(self) -> bool:
        """Return whether nothing is printed."""
        return self._console.quiet

    def show(self, what: RenderableType) -> None:
        """Print a table or another object of rich; at its full width if there is no terminal."""
        with aside():
            self._console.print(what)

    def busy(self, text: str) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Return a context in which a terminal says what goes on; see `busy.busy`."""
        return contextlib.nullcontext(lambda _: None) if self._console.quiet else busy(text)

    @contextlib.contextmanager
    def live(self, render: Callable[[], RenderableType]) -> Iterator[None]:
        """Show the result of `render` below the lines while the block runs; on terminals only."""
        if not self.is_terminal:
            yield
            return
        with (
            aside(),
            Live(
                console=self._console, get_renderable=render, refresh_per_second=2, transient=True
            ),
        ):
            yield

    def line(self, text: str = "") -> None:
        """Print a line, above the bar if there is one; see `escape.lines`."""
        with aside():
            self._console.print(lines(text))

    def markdown(self, text: str) -> None:
        """Print text with tables in markdown; a terminal shows tables, and wraps the rest."""
        if not self.is_terminal:
            self.line(text)
            return
        from rich.markdown import Markdown

        with aside():
            self._console.print(Markdown(lines(text)), soft_wrap=False)

    def entry(self, label: str, text: str, indent: int) -> None:
        """Print a label and a text; a terminal breaks the text between words, below its start.

        Args:
            label: at the start of the line; "" for none.
            text: on one line.
            indent: characters before the text.
        """
        start = f"{label:<{indent}}"
        if not self.is_terminal or self._console.width < 2 * indent:
            self.line(f"{start}{terminal(text)}")
            return
        wrapped = textwrap.wrap(
            terminal(text),
            self._console.width,
            initial_indent=start,
            subsequent_indent=" " * indent,
            break_long_words=False,  # a path can be copied
            break_on_hyphens=False,
        )
        self.line("\n".join(wrapped))

    def detail(self, text: str) -> None:
        """Print a line that only --verbose shows."""
        if self.is_verbose:
            self.line(terminal(text))

    def parts(self, parts: Sequence[str], shed: Sequence[int]) -> None:
        """Print parts of a line with two spaces between; a narrow terminal gets fewer of them.

        Args:
            parts: of the line, in order; "" for none.
            shed: which parts are left out where the line is too wide, the first of these first.
        """
        width = self._console.width if self.is_terminal else None
        self.line("  ".join(fitted(parts, shed, width)))

    def verdict(self, ok: bool | None, text: str) -> None:
        """Print a line that begins with ok, WRONG or, for None, note; in colour on a terminal."""
        words = {
            True: ("ok    ", "green"),
            False: ("WRONG ", "bold red"),
            None: ("note  ", "yellow"),
        }
        style = "red" if ok is False else "default"
        with aside():
            self._console.print(Text(*words[ok]).append(terminal(text), style))

    def example(self, title: str, text: str) -> None:
        """Print an example below its title; numbers and brackets are in colour on a terminal."""
        with aside():
            self._console.print(Text(terminal(title), "bold"))
            self._console.print(lines(text), highlight=True)
            self._console.print()

    @contextlib.contextmanager
    def bar(self, label: str, total: int | None, start: int = 0) -> Iterator[Advance]:
        """Show a bar while the block runs; the block reports to the function that is yielded."""
        if self._console.quiet or not self._console.is_terminal:
            yield self._lines(label, total)
            return
        bars = Bars(console=self._console, transient=True)
        with aside(), bars:
            task = bars.add_task(terminal(label), total=total, completed=start, remark="")
            shown = 0.0

            def advance(done: int, remark: str, total: int | None = total, /) -> None:
                nonlocal shown
                if (now := time.monotonic()) - shown >= _REFRESH_SECONDS:
                    shown = now
                    bars.tasks[task].total = total  # update() can't make it unknown again
                    bars.update(task, completed=done, remark=terminal(remark))

            yield advance

    def _lines(self, label: str, total: int | None) -> Advance:
        shown = time.monotonic()

        def advance(done: int, remark: str, total: int | None = total, /) -> None:
            nonlocal shown
            if (now := time.monotonic()) - shown >= _LINE_SECONDS:
                shown = now
                of = f" of {total:,}" if total else ""
                self.line(terminal(f"{label}: {done:,}{of} {remark}").rstrip())

        return advance
