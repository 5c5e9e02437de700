"""The tables and counts of a sweep that are printed."""

from collections import Counter
from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from lra_bench.display.escape import terminal
from lra_bench.display.units import duration, size_text
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.plan import Job

_STYLES = {"ok": "green", "running": "cyan", "failed": "bold red"}


def number(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 run" or "1,200 runs"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def status_counts(statuses: Iterable[str]) -> str:
    """Return how many runs have each status, such as "1 ok, 2 out of memory"."""
    counts = Counter(status.replace("_", " ") for status in statuses)
    return ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))


def grid(jobs: Iterable[Job], statuses: Mapping[str, str]) -> Table:
    """Return a table of attentions by tasks; each cell lists the statuses of its runs.

    Args:
        jobs: all runs of the sweep.
        statuses: status of each run, by its name.
    """
    rows: dict[str, dict[str, Counter[str]]] = {}
    tasks: dict[str, None] = {}
    for job in jobs:
        label = job.kind.removeprefix(f"{job.task}-")
        cells = rows.setdefault(label, {})
        cells.setdefault(job.task, Counter())[statuses[job.name].replace("_", " ")] += 1
        tasks[job.task] = None
    titles = ("attention", *map(terminal, tasks))
    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for label, cells in rows.items():
        table.add_row(Text(terminal(label)), *(_cell(cells.get(task, Counter())) for task in tasks))
    return table


def _cell(counts: Counter[str]) -> Text:
    """Return the text of a cell: "ok" for a single run, else such as "2 ok, 1 failed"."""
    single = counts.total() == 1
    parts = [
        Text(terminal(status if single else f"{count} {status}"), _STYLES.get(status, ""))
        for status, count in sorted(counts.items())
    ]
    return Text(", ").join(parts)


def plan_table(jobs: Iterable[Job], estimates: Mapping[str, Estimate]) -> Table:
    """Return a table of the runs to do: a row for each kind, with the estimate for one run.

    Args:
        jobs: the runs to do.
        estimates: time and memory of a run, by its kind.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("to do", overflow="fold")
    for header in ("runs", "a run", "memory"):
        table.add_column(header, justify="right")
    for kind, runs in Counter(job.kind for job in jobs).items():
        estimate = estimates.get(kind, Estimate())
        time = "" if estimate.seconds is None else f"about {duration(estimate.seconds)}"
        memory = size_text(estimate.memory) if estimate.memory else ""
        table.add_row(Text(terminal(kind)), str(runs), time, memory)
    return table
