"""Stop a run from outside in a way that lets it go on later."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from lra_bench.errors import unreported
from lra_bench.runtime.processes import Processes
from lra_bench.runtime.signals import handling, is_importing

# Processes ask each other at every eighth question only: an exchange waits for the slowest.
_QUESTIONS = 8
_PATIENCE_SECONDS = 3.0


class Stopped(Exception):
    """The run was asked to stop.

    Attributes:
        step: the step that it was saved at; None if it goes on from its latest checkpoint.
    """

    def __init__(self, step: int | None = None) -> None:
        super().__init__("stopped, nothing is lost" if step is None else f"stopped at step {step}")
        self.step = step


class StopRequest:
    """A request to stop, made by a signal; a second SIGINT ends the process at once.

    The signals are SIGINT, SIGTERM and, unless it is ignored as under nohup, SIGHUP.

    Within `postponed`, where something could be lost, a request waits until `agreed` is asked or
    the block ends. Elsewhere it stops a lone process at once by raising `Stopped`. If the exception
    cannot be raised, because a compiler does not return to Python, a thread ends the process. If
    `listening` is not told how to end the process, every request waits.

    A request to one of several processes is a request to all, and always waits.

    Attributes:
        made: whether this process was asked to stop.
        processes: the processes of the run.
    """

    def __init__(self, processes: Processes | None = None) -> None:
        self.made = False
        self.processes = processes or Processes()
        self._questions = 0
        self._postponed = True
        self._over = threading.Event()
        self._end: Callable[[], None] | None = None

    def agreed(self) -> bool:
        """Return whether to stop here; all processes ask at the same places and agree."""
        if self.processes.size == 1:
            return self.made
        exchanges = self.exchanges
        self._questions += 1
        return exchanges and self.processes.any(self.made)

    @property
    def exchanges(self) -> bool:
        """Return whether the next question waits for the other processes."""
        return self.processes.size > 1 and (self._questions + 1) % _QUESTIONS == 0

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Let a request wait until the block asks for it, or until the end of the block."""
        before, self._postponed = self._postponed, True
        try:
            yield
        finally:
            self._postponed = before
        if self.made and self._may_stop():
            raise Stopped

    @contextlib.contextmanager
    def listening(self, end: Callable[[], None] | None = None) -> Iterator[None]:
        """Listen for requests while the block runs.

        Args:
            end: ends the process; it is called from another thread.
        """
        self._postponed, self._end = end is None, end
        # Python reports a `Stopped` that is raised in a destructor, where nobody can catch it.
        dropped = unreported(lambda error: isinstance(error, Stopped))
        with _wakeup(lambda wakeups: self._watch(wakeups, end)), dropped, handling(self._note):
            try:
                yield
            finally:
                self._over.set()

    def _may_stop(self) -> bool:
        return self.processes.size == 1 and not self._postponed and not self._over.is_set()

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: note the request, and stop if nothing can be lost."""
        if self.made:  # a second SIGTERM may come from another sender of the same request
            if number == signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return
        self.made = True
        if self._may_stop():
            if self._end and is_importing(frame):
                self._end()
            raise Stopped

    def _watch(self, wakeups: socket.socket, end: Callable[[], None] | None) -> None:
        """After each signal, end the process if the block is not left in time."""
        with wakeups:
            while wakeups.recv(1):
                if end and not self._over.wait(_PATIENCE_SECONDS) and self._may_stop():
                    end()


@contextlib.contextmanager
def _wakeup(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """Run a thread whose socket gets a byte at each signal, even while the main thread is busy."""
    sender, receiver = socket.socketpair()
    sender.setblocking(False)
    threading.Thread(target=watch, args=(receiver,), daemon=True).start()
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.close()
