"""Stopping a run from outside, so that it can go on later."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from lra_bench.runtime.processes import Group
from lra_bench.unraisable import unreported

_QUESTIONS = 8
_PATIENCE = 3.0  # seconds


class Stopped(Exception):
    """The run was asked to stop; it can go on from this step, or from its latest checkpoint."""

    def __init__(self, step: int | None = None) -> None:
        super().__init__("stopped, nothing is lost" if step is None else f"stopped at step {step}")
        self.step = step


class StopRequest:
    """What SIGINT and SIGTERM ask for; SIGINT after another request ends the process at once.

    A request waits until it is asked for, if `listening` isn't told how to end the process. If it
    is, that is so in `postponed` blocks, where something might be lost. Elsewhere a request stops
    a lone process by raising `Stopped` wherever it is; and if that doesn't get through, since a
    compiler doesn't return to Python, the process is ended from a thread.

    With several processes a request to any of them is one to all, and always waits. They ask each
    other at every eighth question only, since that waits for the slowest.

    Attributes:
        made: whether there is a request to this process.
        group: the processes of the run.
    """

    def __init__(self, group: Group | None = None) -> None:
        self.made = False
        self.group = group or Group()
        self._questions = 0
        self._postponed = True
        self._over = threading.Event()

    def agreed(self) -> bool:
        """Whether to stop here; all processes ask at the same places and get the same answer."""
        if self.group.size == 1:
            return self.made
        self._questions += 1
        return self._questions % _QUESTIONS == 0 and self.group.any(self.made)

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Stop only where the block asks for it, or at its end."""
        before, self._postponed = self._postponed, True
        try:
            yield
        finally:
            self._postponed = before
        if self.made and self._may_stop():
            raise Stopped

    @contextlib.contextmanager
    def listening(self, end: Callable[[], None] | None = None) -> Iterator[None]:
        """Listen within the block; `end` ends the process, from another thread."""
        self._postponed = end is None
        dropped = unreported(lambda error: isinstance(error, Stopped))  # as in a destructor
        with _bell(lambda ear: self._watch(ear, end)), dropped, _handling(self._note):
            try:
                yield
            finally:
                self._over.set()

    def _may_stop(self) -> bool:
        return self.group.size == 1 and not self._postponed and not self._over.is_set()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.made:  # SIGTERM can come twice, from those who each mean the first
            if number == signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.made = True
        if self._may_stop():
            raise Stopped

    def _watch(self, ear: socket.socket, end: Callable[[], None] | None) -> None:
        """At each signal, see to it that the block is left."""
        with ear:
            while ear.recv(1):
                if end and not self._over.wait(_PATIENCE) and self._may_stop():
                    end()


@contextlib.contextmanager
def _bell(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """A thread whose socket gets a byte at each signal, whatever the main thread is doing."""
    bell, ear = socket.socketpair()
    bell.setblocking(False)
    threading.Thread(target=watch, args=(ear,), daemon=True).start()
    before = signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        bell.close()


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
