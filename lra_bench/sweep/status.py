"""Printing the state of a sweep, read from its folder."""

from pathlib import Path

from lra_bench.display.escape import terminal
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError
from lra_bench.sweep.history import PLAN, Attempts, History
from lra_bench.sweep.run_state import RunState, run_state
from lra_bench.sweep.tables import grid, status_counts


def show(folder: Path, display: Display) -> int:
    """Print the state of each run; return the exit status: 0 if every run has a result.

    Raises:
        UsageError: the folder holds no sweep.
    """
    history = History(folder)
    jobs = history.jobs()
    if not jobs:
        raise UsageError(f"{folder} holds no sweep: there is no {PLAN}")
    all_attempts = history.attempts()
    attempts = {job.name: all_attempts.get(job.name, Attempts()) for job in jobs}
    states = {job.name: run_state(folder / job.name, attempts[job.name]) for job in jobs}
    display.show(grid(jobs, {name: state.status for name, state in states.items()}))
    display.line()
    for name, state in states.items():
        _print_details(name, state, attempts[name], display)
    display.line(status_counts(state.status for state in states.values()))
    return 0 if all(state.is_done for state in states.values()) else 1


def _print_details(name: str, state: RunState, attempts: Attempts, display: Display) -> None:
    """Print what the table leaves out: the step of an unfinished run, the error of a failed one."""
    if state.status in ("running", "stopped"):
        display.line(terminal(f"{name}: {state.status}, at step {state.step:,}"))
    elif state.error is not None:
        tries = f" ({attempts.ended} attempts)" if attempts.ended > 1 else ""
        ended = state.status.replace("_", " ")
        display.line(terminal(f"{name}: {ended}{tries}: {state.error}"))
