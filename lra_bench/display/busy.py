"""Say on a terminal what goes on, whenever nothing else has been printed for a second.

This is no `rich.live.Live`: that hides the cursor and redirects the streams, and a process that a
signal ends at once would leave the terminal so.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from lra_bench.display.escape import terminal

_QUIET_SECONDS = 1.0
_REFRESH_SECONDS = 0.25
_SIGNS = "|/-\\"
_ERASE = "\x1b[K"  # from the cursor to the end of the line


class _Spinner:
    """A line such as "/ compiling ... 7 s" that shows the innermost text.

    The cursor stays at its start, so that whatever prints meanwhile writes over it.
    """

    def __init__(self) -> None:
        self._texts: list[tuple[str, float]] = []  # each with the time since when it holds
        self._lock = threading.RLock()
        self._printing = 0
        self.is_off = False
        self._since = 0.0  # when something else was printed last
        self._shown: TextIO | None = None
        self._thread: threading.Thread | None = None

    def push(self, text: str) -> None:
        """Show another text."""
        with self._lock:
            self._texts.append((text, time.monotonic()))
            if len(self._texts) == 1:
                self._since = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._turn, daemon=True)
                self._thread.start()

    def pop(self) -> None:
        """Show the text before, if there was one."""
        with self._lock:
            self._texts.pop()
            self._erase()

    def change(self, text: str) -> None:
        """Replace the innermost text, but not its time."""
        with self._lock:
            self._texts[-1] = (text, self._texts[-1][1])

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the line while the block prints."""
        with self._lock:
            self._printing += 1
            self._erase()
        try:
            yield
        finally:
            with self._lock:
                self._printing -= 1
                self._since = time.monotonic()

    def _turn(self) -> None:
        """Write the line again and again, until no text is left."""
        while True:
            time.sleep(_REFRESH_SECONDS)
            with self._lock:
                if not self._texts:
                    self._thread = None
                    return
                if not self._printing and time.monotonic() - self._since >= _QUIET_SECONDS:
                    self._write()

    def _write(self) -> None:
        (text, since), stream = self._texts[-1], _terminal()
        if stream is None:
            return
        now = time.monotonic()
        sign = _SIGNS[int(now / _REFRESH_SECONDS) % len(_SIGNS)]
        end = f" ... {now - since:.0f} s"
        words = terminal(text)[: shutil.get_terminal_size().columns - len(end) - 3]
        with contextlib.suppress(OSError, ValueError):  # a terminal that hung up, a closed stream
            stream.write(f"\r{sign} {words}{end}{_ERASE}\r")
            stream.flush()
            self._shown = stream

    def _erase(self) -> None:
        stream, self._shown = self._shown, None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.write(f"\r{_ERASE}")
                stream.flush()


_spinner = _Spinner()


def _terminal() -> TextIO | None:
    """Return standard output or else standard error, whichever is a terminal; None if neither.

    A terminal that calls itself dumb erases no line, so it counts as none.
    """
    if os.environ.get("TERM") == "dumb":
        return None
    streams = (stream for stream in (sys.stdout, sys.stderr) if stream is not None)
    return next((stream for stream in streams if stream.isatty()), None)


@contextlib.contextmanager
def busy(text: str) -> Iterator[Callable[[str], None]]:
    """Say what goes on while the block runs, on a terminal; the block may change the text."""
    if _spinner.is_off or _terminal() is None:
        yield lambda _: None
        return
    _spinner.push(text)
    try:
        yield _spinner.change
    finally:
        _spinner.pop()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Say nothing of what goes on while the block runs."""
    before, _spinner.is_off = _spinner.is_off, True
    try:
        yield
    finally:
        _spinner.is_off = before


def aside() -> contextlib.AbstractContextManager[None]:
    """Return a context in which something else is printed or shown, and the line is hidden."""
    return _spinner.hidden()


def say(text: object, *, end: str = "\n", stream: TextIO | None = None) -> None:
    """Print a text where no display does it; to standard output unless a stream is given."""
    with aside():
        print(text, end=end, file=stream)
