"""The progress of a sweep on the screen: lines and, on a terminal, a table beneath them."""

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lra_bench.display.command import command
from lra_bench.display.escape import terminal
from lra_bench.display.progress import Display
from lra_bench.display.units import duration
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.history import INTERRUPTED
from lra_bench.sweep.plan import Job
from lra_bench.sweep.run_state import RunState, last_step
from lra_bench.sweep.tables import grid, status_counts

# How often the runs' steps are read and, without a terminal, how often a line is printed.
_LOOK_SECONDS = 1.0
_LINE_SECONDS = 300.0
# The most running runs that are listed; a cluster may have hundreds of them in its queue.
_MOST_ROWS = 12


class View:
    """A View shows how a sweep goes on.

    Args:
        display: where lines and the table are printed.
        folder: the sweep's folder.
        jobs: all runs of the sweep.
        states: state of each run before the sweep goes on, by its name.
        estimates: time and memory of a run, by its kind.
        capacity: how many runs can go on at once.
    """

    def __init__(
        self,
        display: Display,
        folder: Path,
        jobs: Sequence[Job],
        states: Mapping[str, RunState],
        estimates: Mapping[str, Estimate],
        capacity: int,
    ) -> None:
        self._display, self._folder, self._capacity = display, folder, capacity
        self._jobs = {job.name: job for job in jobs}
        self._statuses = {job.name: states[job.name].status for job in jobs}
        # By kind: training steps of a run, and the seconds that a run is expected to take.
        self._num_steps = {job.kind: job.settings().train.num_steps for job in jobs}
        self._expected = {kind: cost.seconds for kind, cost in estimates.items() if cost.seconds}
        # By the name of a running run: when it was started, and its last step.
        self._started: dict[str, float] = {}
        self._steps: dict[str, int] = {}
        self._seconds_left: float | None = None
        self._looked = self._printed = time.monotonic()

    def started(self, job: Job) -> None:
        """Show that an attempt has begun."""
        self._statuses[job.name] = "running"
        self._started[job.name] = time.monotonic()
        self._display.detail(f"started {job.name}: {command('run', *job.arguments())}")

    def ended(
        self, job: Job, state: RunState, outcome: str, error: str | None, *, again: bool
    ) -> None:
        """Print how an attempt ended.

        Args:
            job: the run.
            state: its state now.
            outcome: of the attempt.
            error: what went wrong, if anything.
            again: whether the run will be tried again.
        """
        seconds = time.monotonic() - self._started.pop(job.name)
        self._steps.pop(job.name, None)
        self._statuses[job.name] = "waiting" if again else outcome
        if outcome == "ok":
            self._expected.setdefault(job.kind, seconds)
        result = _result_text(state, outcome, error)
        remark = "; to be tried again" if again else ""
        text = f"{self._count()}  {job.name}: {result} ({duration(seconds)}){remark}"
        self._display.line(terminal(text))

    def say(self, text: str) -> None:
        """Print a line."""
        self._display.line(terminal(text))

    def _count(self) -> str:
        """Return how many runs have ended, such as "[ 3 of 12]"."""
        ended = sum(
            status not in ("waiting", "running", "stopped") for status in self._statuses.values()
        )
        total = f"{len(self._statuses):,}"
        return f"[{ended:>{len(total)},} of {total}]"

    def tick(self, running: Collection[Job], waiting: Collection[Job]) -> None:
        """Read the steps of the running runs, once a second; to be called often."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._steps = {job.name: last_step(self._folder / job.name) for job in running}
        self._seconds_left = self._estimate_rest(running, waiting)
        if not self._display.is_terminal and now - self._printed > _LINE_SECONDS:
            self._printed = now
            steps = [f"{name} at step {step:,}" for name, step in self._steps.items()]
            self._display.line(f"{self._count()}  {self._time_left()}{', '.join(steps)}")

    def _estimate_rest(self, running: Collection[Job], waiting: Collection[Job]) -> float | None:
        """Return the seconds until all runs are done; None while no run's time is known.

        That is at least the time of the longest run. A kind of unknown time takes the mean.
        """
        if not self._expected:
            return None
        mean = sum(self._expected.values()) / len(self._expected)
        left = [self._expected.get(job.kind, mean) for job in waiting]
        for job in running:
            share_done = self._steps[job.name] / self._num_steps[job.kind]
            left.append(self._expected.get(job.kind, mean) * (1 - share_done))
        return max([sum(left) / self._capacity, *left]) if left else 0.0

    def _time_left(self) -> str:
        """Return a phrase such as "about 2 h left; ", "" if that is not known."""
        return "" if self._seconds_left is None else f"about {duration(self._seconds_left)} left; "

    def render(self) -> Group:
        """Return what is shown beneath the lines: all runs, the running ones, and the totals."""
        jobs, totals = self._jobs.values(), status_counts(self._statuses.values())
        summary = Text(f"{self._time_left()}{totals}", "bold")
        table = grid(jobs, self._statuses)
        return Group(Text(), table, Text(), self._running_table(), Text(), summary)

    def _running_table(self) -> Table:
        """Return a table of the running runs: the step of each, and since when it runs."""
        now = time.monotonic()
        table = Table("running", "step", "since", box=None, pad_edge=False, header_style="bold")
        for name, started in self._furthest().items():
            num_steps = self._num_steps[self._jobs[name].kind]
            steps = f"{self._steps.get(name, 0):,} of {num_steps:,}"
            table.add_row(Text(terminal(name), "cyan"), steps, duration(now - started))
        if more := len(self._started) - table.row_count:
            table.add_row(f"and {more:,} more")
        return table

    def _furthest(self) -> dict[str, float]:
        """Return when each running run was started, of as many as a screen shows."""
        by_step = sorted(self._started, key=lambda name: -self._steps.get(name, 0))
        return {name: self._started[name] for name in by_step[:_MOST_ROWS]}


def _result_text(state: RunState, outcome: str, error: str | None) -> str:
    """Return the test accuracy of a run that ended well, else its outcome and its error."""
    test = state.record and state.record.test
    if outcome == "ok" and test:
        return f"test accuracy {test.accuracy:.1%}"
    if outcome == INTERRUPTED:
        return f"interrupted at step {state.step:,}"
    return f"{outcome.replace('_', ' ')}{f': {error}' if error else ''}"
