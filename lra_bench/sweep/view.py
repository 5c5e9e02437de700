"""What a person sees of a sweep: lines, and on a terminal a table beneath them."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lra_bench.display.progress import Display
from lra_bench.display.units import duration, size_text
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.plan import Job
from lra_bench.sweep.run_state import Standing, last_step

_LOOK_SECONDS = 1.0
_LINE_SECONDS = 300.0
_STYLES = {"ok": "green", "running": "cyan", "failed": "bold red"}


def number(count: int, what: str) -> str:
    """Such as "1 run" or "1,200 runs"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def grid(jobs: Iterable[Job], states: Mapping[str, str]) -> Table:
    """How the runs stand: attentions by tasks, each cell the states of its runs."""
    rows: dict[str, dict[str, Counter[str]]] = {}
    tasks: dict[str, None] = {}
    for job in jobs:
        label = job.kind.removeprefix(f"{job.task}-")
        cells = rows.setdefault(label, {})
        cells.setdefault(job.task, Counter())[states[job.name].replace("_", " ")] += 1
        tasks[job.task] = None
    table = Table("attention", *tasks, box=None, pad_edge=False, header_style="bold")
    for label, cells in rows.items():
        table.add_row(label, *(_cell(cells.get(task)) for task in tasks))
    return table


def _cell(states: Counter[str] | None) -> Text:
    parts = [
        Text(state if count == 1 == sum((states or {}).values()) else f"{count} {state}", style)
        for state, count in sorted((states or {}).items())
        for style in [_STYLES.get(state, "")]
    ]
    return Text(", ").join(parts)


def plan_table(left: Iterable[Job], estimates: Mapping[str, Estimate]) -> Table:
    """What is left to do, a row a kind of run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("to do")
    for header in ("runs", "a run", "memory"):
        table.add_column(header, justify="right")
    for kind, runs in Counter(job.kind for job in left).items():
        known = estimates.get(kind, Estimate())
        seconds = "" if known.seconds is None else f"about {duration(known.seconds)}"
        table.add_row(kind, str(runs), seconds, size_text(known.memory) if known.memory else "")
    return table


class View:
    """Tells of a sweep while it goes on."""

    def __init__(
        self,
        display: Display,
        folder: Path,
        jobs: Sequence[Job],
        standings: Mapping[str, Standing],
        estimates: Mapping[str, Estimate],
        capacity: int,
    ) -> None:
        self._display, self._folder, self._jobs = display, folder, jobs
        self._states = {job.name: standings[job.name].state for job in jobs}
        self._seconds = {kind: one.seconds for kind, one in estimates.items() if one.seconds}
        self._capacity = capacity
        self._steps = {job.kind: job.settings().train.num_steps for job in jobs}
        self._since: dict[str, float] = {}
        self._at: dict[str, int] = {}
        self._left: float | None = None
        self._looked = self._printed = time.monotonic()

    def started(self, job: Job) -> None:
        """A run begins."""
        self._states[job.name] = "running"
        self._since[job.name] = time.monotonic()

    def ended(
        self, job: Job, standing: Standing, outcome: str, error: str | None, *, again: bool
    ) -> None:
        """An attempt has ended."""
        seconds = time.monotonic() - self._since.pop(job.name)
        self._at.pop(job.name, None)
        self._states[job.name] = "waiting" if again else outcome
        if outcome == "ok":
            self._seconds.setdefault(job.kind, seconds)
        what = f"{outcome.replace('_', ' ')}{f': {error}' if error else ''}"
        test = standing.record and standing.record.test
        if outcome == "ok" and test:
            what = f"test accuracy {test.accuracy:.1%}"
        remark = "; to be tried again" if again else ""
        self._display.line(f"{self._count()}  {job.name}: {what} ({duration(seconds)}){remark}")

    def _count(self) -> str:
        ended = sum(
            state not in ("waiting", "running", "stopped") for state in self._states.values()
        )
        width = len(f"{len(self._states):,}")
        return f"[{ended:>{width},} of {len(self._states):,}]"

    def tick(self, running: Collection[Job], waiting: Collection[Job]) -> None:
        """Some time has passed: look how far the runs are."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        self._at = {job.name: last_step(self._folder / job.name) for job in running}
        self._left = self._remaining(running, waiting)
        if not self._display.is_terminal and now - self._printed > _LINE_SECONDS:
            self._printed = now
            steps = [f"{job.name} at step {self._at[job.name]:,}" for job in running]
            self._display.line(f"{self._count()}  {self._eta()}{', '.join(steps)}")

    def _remaining(self, running: Collection[Job], waiting: Collection[Job]) -> float | None:
        """Seconds until all is done, if something is known of how long runs take."""
        if not self._seconds:
            return None
        usual = sum(self._seconds.values()) / len(self._seconds)
        left = [self._seconds.get(job.kind, usual) for job in waiting]
        for job in running:
            whole = self._seconds.get(job.kind, usual)
            left.append(whole * (1 - self._at[job.name] / self._steps[job.kind]))
        return max([sum(left) / self._capacity, *left]) if left else 0.0

    def _eta(self) -> str:
        return "" if self._left is None else f"about {duration(self._left)} left; "

    def render(self) -> Group:
        """The table beneath the lines."""
        now = time.monotonic()
        runs = Table("running", "step", "since", box=None, pad_edge=False, header_style="bold")
        for name, since in self._since.items():
            job = next(job for job in self._jobs if job.name == name)
            steps = f"{self._at.get(name, 0):,} of {self._steps[job.kind]:,}"
            runs.add_row(Text(name, "cyan"), steps, duration(now - since))
        counts = Counter(state.replace("_", " ") for state in self._states.values())
        totals = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        summary = Text(f"{self._eta()}{totals}", "bold")
        return Group(Text(), grid(self._jobs, self._states), Text(), runs, Text(), summary)
