"""The contract of an executor, which carries out the runs of a sweep, and its types."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# The variable that names the folder of compiled programs, and its name in the sweep's folder.
COMPILED, COMPILED_FOLDER = "JAX_COMPILATION_CACHE_DIR", ".compiled"


@dataclass(frozen=True)
class Needs:
    """The hardware that one run is given.

    Attributes:
        cpus: CPU cores; 0 for an equal share of all.
        gpus: GPUs; 0 for none asked for.
        tpus: TPU chips; 0 for none asked for.
    """

    cpus: int = 0
    gpus: int = 0
    tpus: int = 0


@dataclass(frozen=True)
class Launch:
    """A Launch describes one attempt at a run.

    Attributes:
        name: name of the run.
        arguments: arguments of `lra-bench run`, without --out.
        folder: folder of the run.
        log: file that the output of the attempt is appended to.
        time_limit: seconds after which the attempt is stopped.
        memory: estimated peak memory, in bytes; None if it is not known.
    """

    name: str
    arguments: tuple[str, ...]
    folder: Path
    log: Path
    time_limit: float
    memory: float | None


@dataclass(frozen=True)
class Ending:
    """An Ending tells how an attempt ended.

    Attributes:
        returncode: exit status of the process, negative for a signal; None if the machine was lost.
        seconds: duration of the attempt, in seconds.
        timed_out: whether it was stopped because of its time limit.
        interrupted: whether it had to make room after it had saved, which is no failure.
        memory_ran_out: whether the system killed processes to free memory during the attempt.
        message: the last line that the process printed, or why it was lost.
    """

    returncode: int | None
    seconds: float
    timed_out: bool = False
    interrupted: bool = False
    memory_ran_out: bool = False
    message: str = ""


class Executor(Protocol):
    """An Executor starts attempts and tells how they ended."""

    @property
    def capacity(self) -> int:
        """Return how many runs can go on at once."""
        ...

    def describe(self) -> str:
        """Return a phrase for people: where the runs are carried out, and how many at a time."""
        ...

    def has_room(self, launch: Launch) -> bool:
        """Return whether this attempt can be started now."""
        ...

    def start(self, launch: Launch) -> None:
        """Start an attempt."""
        ...

    def ended(self) -> list[tuple[Launch, Ending]]:
        """Return the attempts that have ended since the last call; wait a moment if none has."""
        ...

    def stop(self) -> None:
        """Ask all running attempts to save and stop; `ended` returns them once they have."""
        ...

    def close(self) -> None:
        """Kill the attempts that are still running."""
        ...
