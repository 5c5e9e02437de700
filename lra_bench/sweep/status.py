"""How a sweep stands, read from its folder without touching it."""

from collections import Counter
from pathlib import Path

from lra_bench.display.progress import Display
from lra_bench.errors import UsageError
from lra_bench.sweep.history import PLAN, Attempts, History
from lra_bench.sweep.run_state import Standing, stand
from lra_bench.sweep.view import grid


def show(folder: Path, display: Display) -> int:
    """Print it; the exit status: 0 if every run has a result.

    Raises:
        UsageError: the folder holds no sweep.
    """
    history = History(folder)
    jobs = history.jobs()
    if not jobs:
        raise UsageError(f"{folder} holds no sweep: there is no {PLAN}")
    attempts = history.attempts()
    standings = {
        job.name: stand(folder / job.name, attempts.get(job.name, Attempts())) for job in jobs
    }
    display.show(grid(jobs, {name: standing.state for name, standing in standings.items()}))
    display.line()
    for name, standing in standings.items():
        _tell(name, standing, attempts.get(name, Attempts()), display)
    counts = Counter(standing.state.replace("_", " ") for standing in standings.values())
    display.line(", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())))
    return 0 if all(standing.is_done for standing in standings.values()) else 1


def _tell(name: str, standing: Standing, attempts: Attempts, display: Display) -> None:
    """What the table doesn't say of a run."""
    if standing.state in ("running", "stopped"):
        display.line(f"{name}: {standing.state}, at step {standing.step:,}")
    elif standing.error is not None:
        tries = f" ({attempts.ended} attempts)" if attempts.ended > 1 else ""
        display.line(f"{name}: {standing.state.replace('_', ' ')}{tries}: {standing.error}")
