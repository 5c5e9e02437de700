"""The state of each run of a sweep, read from its folder and from the history of its attempts."""

from dataclasses import dataclass
from pathlib import Path

from lra_bench.errors import RunError
from lra_bench.records import metrics, record
from lra_bench.records.record import Record
from lra_bench.records.run_folder import RunFolder
from lra_bench.sweep.history import Attempts

# Statuses that are results: the same run would end in the same way again.
RESULTS = ("ok", "diverged", "out_of_memory")


@dataclass(frozen=True)
class RunState:
    """A RunState tells how far a run has come.

    Attributes:
        status: "waiting", "running", "stopped", or the status of its record.
        step: the last training step in its metrics.
        record: its record, if it has ended.
        error: why it did not end well, if known.
    """

    status: str
    step: int = 0
    record: Record | None = None
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Return whether the run has a result."""
        return self.status in RESULTS


def run_state(folder: Path, attempts: Attempts) -> RunState:
    """Return the state of the run in a folder; nothing is written.

    A run whose folder is closed to this user has failed; it does not hide the others.
    """
    try:
        return _run_state(folder, attempts)
    except PermissionError:
        return RunState("failed", error=f"{folder}: permission denied")


def _run_state(folder: Path, attempts: Attempts) -> RunState:
    if attempts.is_running():
        return RunState("running", last_step(folder))
    if (folder / record.FILE).exists():
        try:
            result = record.read(folder / record.FILE)
        except RunError as error:
            return RunState("failed", error=str(error))
        return RunState(result.status, result.steps, result, result.error)
    if attempts.errors:
        return RunState("failed", last_step(folder), error=attempts.errors[-1])
    if RunFolder(folder).started:
        return RunState("stopped", last_step(folder))
    return RunState("waiting")


def last_step(folder: Path) -> int:
    """Return the step of the last line of metrics; 0 if there is none, or it cannot be read."""
    try:
        lines = metrics.read(folder / metrics.FILE)
    except OSError:
        return 0
    return lines[-1].step if lines else 0
