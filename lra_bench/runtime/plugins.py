"""Import modules of other people, so that one that is broken in any way stops nothing else.

A module may raise anything, `SystemExit` and `KeyboardInterrupt` too, may print, and may hang. A
signal of the user still stops the command. Streams, handlers of signals, the working folder and
the mask of file modes are afterwards as they were: a module that changes them would change where
the command writes, and whether it can be stopped.
"""

import contextlib
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, TypeVar

from lra_bench.display.escape import terminal
from lra_bench.errors import UsageError, one_line

Result = TypeVar("Result")

SECONDS = "LRA_BENCH_PLUGIN_SECONDS"
_USUAL_SECONDS = 30.0
_MOST_SECONDS = 86_400.0
# A module that swallows the exception of the time limit gets it again, after so many seconds.
_AGAIN_SECONDS = 0.5
# Seconds past the limit after which a module that cannot be interrupted ends the process.
_GRACE_SECONDS = 3.0
_MOST_CHARACTERS = 300


class Broken(Exception):
    """A module cannot be used; the message says where and why, in one line."""


class _TookTooLong(BaseException):
    """The time limit is over; it is no `Exception`, which modules catch more often."""


def limit() -> float:
    """Return the seconds that an import may take, $LRA_BENCH_PLUGIN_SECONDS or 30; 0 for none.

    Raises:
        UsageError: the variable holds no such number.
    """
    text = os.environ.get(SECONDS) or str(_USUAL_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _MOST_SECONDS:
        raise UsageError(f"{SECONDS}={terminal(text)}: must be seconds, from 0 to 86400")
    return seconds


def guarded(call: Callable[[], Result], module: str) -> Result:
    """Return what `call` returns; what it prints goes to standard error.

    The time limit holds in the main thread only: no other thread can be interrupted.

    Args:
        call: imports the module, or runs code of it.
        module: its name.

    Raises:
        Broken: `call` raised something, or took longer than `limit`.
        BaseException: what the handler of a signal raised, when the user asked to stop.
    """
    watch = _Watch(limit() or _USUAL_SECONDS, module)
    messages: Any = _Messages(sys.stderr)
    streams = contextlib.redirect_stdout(messages), contextlib.redirect_stderr(messages)
    try:
        with watch, streams[0], streams[1], _process_kept():
            try:
                return call()
            except BaseException as error:  # its text is made by code of the module, too
                raise Broken(describe(error, module)) from None
    except Broken:
        raise
    except BaseException as error:
        if error is watch.asked:
            raise
        raise Broken(describe(error, module)) from None


class _Messages:
    """Standard error, which a module can write to but not close."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Leave it open: the command writes its messages there."""


@contextlib.contextmanager
def _process_kept() -> Iterator[None]:
    """Keep the working folder and the mask of file modes; end a copy of the process."""
    process, mask = os.getpid(), os.umask(0o077)
    os.umask(mask)
    with _folder_kept():
        try:
            yield
        finally:
            if os.getpid() != process:  # the module has forked; the copy would do all a second time
                os._exit(0)
            os.umask(mask)


@contextlib.contextmanager
def _folder_kept() -> Iterator[None]:
    """Keep the working folder, unless it cannot be opened."""
    try:
        folder = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.fchdir(folder)
        os.close(folder)


class _Watch:
    """A time limit, and an eye on the signals that the user sends meanwhile.

    Attributes:
        asked: what the handler of a signal raised; None if there was no signal.
    """

    def __init__(self, seconds: float, module: str) -> None:
        self.asked: BaseException | None = None
        self._seconds, self._module = seconds, module
        self._late: _TookTooLong | None = None
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if not self._in_main_thread:
            return
        self._handlers = {
            number: signal.signal(number, self._noting(handler) if callable(handler) else handler)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if (handler := signal.getsignal(number)) is not None  # None: not one of Python's
        }
        self._handlers[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._interrupt)
        self._last = threading.Timer(self._seconds + _GRACE_SECONDS, self._give_up)
        self._last.daemon = True
        self._last.start()
        self._start = time.monotonic()
        self._timer = signal.setitimer(signal.ITIMER_REAL, self._seconds, _AGAIN_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._in_main_thread:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._last.cancel()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._timer[0]:  # somebody else waits for the alarm too
            left = self._timer[0] - (time.monotonic() - self._start)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3), self._timer[1])
        # Even where the module turned it into another exception, or went on.
        for reason in (self.asked, self._late):
            if reason is not None:
                raise reason

    def _noting(self, handler: Any) -> Callable[[int, FrameType | None], None]:
        """Return a handler that keeps what `handler` raises; a second request ends the process."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.asked is not None:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            try:
                handler(number, frame)
            except BaseException as error:
                self.asked = error
                raise

        return handle

    def _interrupt(self, number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        error = _TookTooLong(
            f"its import takes longer than {self._seconds:g} s, the limit that {SECONDS} sets"
        )
        self._late = self._late or error
        raise self._late

    def _give_up(self) -> None:
        """End the process: the module swallows the interruption, or does not return to Python."""
        sys.stderr.write(
            f"lra-bench: the import of {terminal(self._module)} hangs and can't be interrupted; "
            f"uninstall that plug-in, or set {SECONDS}=0 to import none\n"
        )
        sys.stderr.flush()
        os._exit(2)


def describe(error: BaseException, module: str) -> str:
    """Return one line: file and line of that module where the error arose, type and message."""
    place = _place(error, module)
    text = str(error) if isinstance(error, _TookTooLong) else _message_of(error)
    text = terminal(f"{place}: {text}" if place else text)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _message_of(error: BaseException) -> str:
    """Return type and message of an exception, whose own code may be broken too."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    try:
        return one_line(error)
    except _TookTooLong:
        raise
    except BaseException:
        return type(error).__name__


def _place(error: BaseException, module: str) -> str:
    """Return "my_package/efficient.py, line 3"; empty if no line of the module was reached."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{short(error.filename)}, line {error.lineno}"
    package = module if module.startswith("lra_bench.") else module.partition(".")[0]
    lines = [
        f"{short(frame.f_code.co_filename)}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if f"{frame.f_globals.get('__name__')}.".startswith(f"{package}.")
    ]
    return lines[-1] if lines else ""


def short(file: str) -> str:
    """Return a path below the folder from which Python imports it, if there is one."""
    roots = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    below = [file[len(root) + 1 :] for root in roots if file.startswith(f"{root}{os.sep}")]
    return min(below, key=len, default=file)
