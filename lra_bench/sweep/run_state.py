"""How each run of a sweep stands, by what lies in its folder and what is known of its attempts."""

from dataclasses import dataclass
from pathlib import Path

from lra_bench.errors import RunError
from lra_bench.records import metrics, record
from lra_bench.records.record import Record
from lra_bench.records.run_folder import RunFolder
from lra_bench.sweep.history import Attempts

# Ends that are results: the same run would end so again.
RESULTS = ("ok", "diverged", "out_of_memory")


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        state: "waiting", "running", "stopped", or a status of its record.
        step: how far it is, by its last line of metrics.
        record: of a run that ended.
        error: why it didn't end well, if known.
    """

    state: str
    step: int = 0
    record: Record | None = None
    error: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has a result."""
        return self.state in RESULTS


def stand(folder: Path, attempts: Attempts) -> Standing:
    """How the run in a folder stands; only reads."""
    if attempts.is_running():
        return Standing("running", last_step(folder))
    error = attempts.errors[-1] if attempts.errors else None
    if (folder / record.FILE).exists():
        try:
            found = record.read(folder / record.FILE)
        except RunError as broken:
            return Standing("failed", error=str(broken))
        return Standing(found.status, found.steps, found, found.error)
    if error is not None:
        return Standing("failed", last_step(folder), error=error)
    if RunFolder(folder).started:
        return Standing("stopped", last_step(folder))
    return Standing("waiting")


def last_step(folder: Path) -> int:
    """The step of the last line of metrics; 0 without one."""
    lines = metrics.read(folder / metrics.FILE)
    return lines[-1].step if lines else 0
