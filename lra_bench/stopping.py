"""Stopping a run from outside, so that it can go on later."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from lra_bench.group import Group

_QUESTIONS = 8


class Stopped(Exception):
    """The run was asked to stop and has saved its state at this step."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step


class StopRequest:
    """Turns SIGINT and SIGTERM into a request; a second one ends the process at once.

    With several processes a request to any of them is one to all. They ask each other at every
    eighth question only, since that waits for the slowest.
    """

    def __init__(self, group: Group | None = None) -> None:
        self.made = False
        self._group = group or Group()
        self._questions = 0

    def agreed(self) -> bool:
        """Whether to stop here; all processes ask at the same places and get the same answer."""
        if self._group.size == 1:
            return self.made
        self._questions += 1
        return self._questions % _QUESTIONS == 0 and self._group.any(self.made)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen within the block."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.made:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.made = True
