"""The signals that ask a process to stop: Ctrl-C, SIGTERM, and SIGHUP of a closed terminal."""

import contextlib
import os
import signal
import stat
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, TextIO

_IMPORTS = "<frozen importlib._bootstrap>"
_COMMANDS = "lra_bench.cli"
Handler = Callable[[int, FrameType | None], None]


def requests() -> tuple[signal.Signals, ...]:
    """Return the signals that ask to stop; not SIGHUP under nohup, which has it ignored."""
    always = (signal.SIGINT, signal.SIGTERM)
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return always if ignored else (*always, signal.SIGHUP)


@contextlib.contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Handle the signals that ask to stop with `handler` while the block runs."""

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            terminal.leave()
        handler(number, frame)

    terminal = _Terminal()
    before = {number: signal.signal(number, handle) for number in requests()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        terminal.return_to()


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Raise KeyboardInterrupt at each request to stop while the block runs.

    Yields:
        A function that tells whether there was one. Libraries turn the exception into others.
    """
    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del number
        if is_importing(frame):
            leave("lra-bench: interrupted", sys.stderr)
        asked = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # where Python handles none
        yield lambda: False
        return
    with handling(interrupt):
        yield lambda: asked


def is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported: an exception may crash the C code of its start.

    Nothing can be lost then, so the process may end at once.

    Args:
        frame: that runs; a module of the command line is the last one that counts.
    """
    while frame is not None and not frame.f_globals.get("__name__", "").startswith(_COMMANDS):
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


def leave(message: str, stream: TextIO) -> NoReturn:
    """Print a last line and end this process at once, with exit status 1."""
    with contextlib.suppress(OSError):
        print(message, file=stream, flush=True)
    os._exit(1)


class _Terminal:
    """The terminal that may hang up: writing to it would then fail before anything is saved."""

    def __init__(self) -> None:
        self._kept: dict[int, int] = {}

    def leave(self) -> None:
        """Let standard output and standard error go nowhere, if they go to a terminal."""
        for number in (1, 2):
            with contextlib.suppress(OSError):
                if number not in self._kept and stat.S_ISCHR(os.fstat(number).st_mode):
                    self._kept[number] = os.dup(number)
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, number)
                    os.close(nowhere)

    def return_to(self) -> None:
        """Write to the terminal again, if it has not hung up."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        for number, kept in self._kept.items():
            with contextlib.suppress(termios.error):
                termios.tcgetattr(kept)
                os.dup2(kept, number)
            os.close(kept)
        self._kept.clear()
