"""What carries out a sweep's runs: the contract, and what passes over it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Needs:
    """What one run is given; 0 of a device for none, 0 CPUs for a share of all."""

    cpus: int = 0
    gpus: int = 0
    tpus: int = 0


@dataclass(frozen=True)
class Launch:
    """One attempt at a run.

    Attributes:
        name: of the run.
        arguments: for `lra-bench run`, without --out.
        folder: of the run.
        log: where what it prints is appended.
        time_limit: seconds after which it is stopped.
        memory: bytes it is thought to take; None if that isn't known.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    log: Path
    time_limit: float
    memory: float | None


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Attributes:
        returncode: of its process, negative for a signal; None if that was lost with its machine.
        seconds: how long it took.
        timed_out: whether it was stopped for its time limit.
        wanting: whether the system killed processes for want of memory meanwhile.
        said: the last line it printed, or why it was lost.
    """

    returncode: int | None
    seconds: float
    timed_out: bool = False
    wanting: bool = False
    said: str = ""


class Executor(Protocol):
    """Starts attempts and tells how they ended."""

    @property
    def capacity(self) -> int:
        """How many runs there is room for at once."""
        ...

    def describe(self) -> str:
        """What it runs on, for people."""
        ...

    def has_room(self, launch: Launch) -> bool:
        """Whether this may be started now."""
        ...

    def start(self, launch: Launch) -> None:
        """Start it."""
        ...

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Those that have ended since the last call; waits a moment if there is none."""
        ...

    def stop(self) -> None:
        """Have all that run save and stop; `ended` tells of them."""
        ...

    def close(self) -> None:
        """End what is still there, by force."""
        ...
