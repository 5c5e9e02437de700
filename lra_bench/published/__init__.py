"""Published figures, which are shown beside a user's own runs and never averaged with them.

The CSV files in this folder hold the figures as the sources print them; see docs/published.md.
"""

import csv
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

# The names under which the sources publish each mechanism.
_NAMES = {
    "softmax": ("Transformer", "Standard", "Self-Attention"),
    "performer-softmax": ("Performer", "Favor-256 (redraw)"),
    "performer-relu": ("Performer",),
    "linformer": ("Linformer", "Linformer-seq/4 (no redraw)"),
    "linear": ("Linear Trans.",),
    "reformer": ("Reformer",),
}
_TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
# The kernel of each source's "Performer", where the source tells.
_KERNEL = {"nystromformer": "performer-relu", "xformers": "performer-softmax"}


@dataclass(frozen=True)
class Published:
    """A published row holds the accuracies of one model in one source, in percent.

    Attributes:
        source: the name of the source.
        model: the name of the model in the source.
        accuracy: accuracy by task, in percent, without the tasks at which the model failed.
        failed: the tasks at which the model failed.
        average: the average as printed, in percent; None if there is none.
    """

    source: str
    model: str
    accuracy: dict[str, float] = field(hash=False)
    failed: frozenset[str] = frozenset()
    average: float | None = None


@cache
def results() -> tuple[Published, ...]:
    """Return every published row: Table 1 of the LRA paper, then later results of others."""
    paper = [
        {**row, "source": "LRA paper", "avg": row["avg_printed"]}
        for row in _read("lra_paper_table1")
    ]
    return tuple(map(_published, [*paper, *_read("later_results")]))


def _published(row: dict) -> Published:
    failed = frozenset(task for task in _TASKS if row[task] == "FAIL")
    average = float(row["avg"]) if row["avg"] else None
    return Published(row["source"], row["model"], _accuracy(row), failed, average)


def of(attention: str, task: str) -> list[Published]:
    """Return the published rows of a mechanism that have a figure for a task."""
    return [row for row in results() if _is_of(row, attention) and task in row.accuracy]


def _is_of(row: Published, attention: str) -> bool:
    """Return whether a row is of a mechanism; a "Performer" of unknown kernel is of both."""
    if row.model == "Performer" and row.source in _KERNEL:
        return _KERNEL[row.source] == attention
    return row.model in _NAMES.get(attention, ())


@dataclass(frozen=True)
class Speed:
    """A speed holds one row of Table 2 of the LRA paper: byte text, batch 32, 4x4 TPU v3.

    Attributes:
        model: the name of the model.
        steps_per_second: training steps per second, by the length in thousands of tokens.
        relative: the same divided by that of the Transformer, as printed.
        gigabytes: peak memory of a device in GB, by the length in thousands of tokens.
    """

    model: str
    steps_per_second: dict[int, float]
    relative: dict[int, float]
    gigabytes: dict[int, float]


@cache
def speeds() -> tuple[Speed, ...]:
    """Return Table 2 of the LRA paper, in its order."""
    columns = ("sps", "rel", "gb")
    return tuple(
        Speed(row["model"], *(_by_length(row, name) for name in columns))
        for row in _read("lra_paper_table2")
    )


def speed_of(attention: str) -> Speed | None:
    """Return the row of Table 2 of the LRA paper for a mechanism; None if it has none."""
    names = _NAMES.get(attention, ())
    return next((row for row in speeds() if row.model in names), None)


def _by_length(row: dict, name: str) -> dict[int, float]:
    return {thousands: float(row[f"{name}_{thousands}k"]) for thousands in (1, 2, 3, 4)}


def _read(name: str) -> list[dict[str, str]]:
    """Read the rows of a CSV file. pandas would add half a second to the start of every run."""
    text = (files("lra_bench") / "published" / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def _accuracy(row: dict) -> dict[str, float]:
    """Return the accuracies of a row, in percent, without empty cells and FAIL."""
    return {task: float(row[task]) for task in _TASKS if re.fullmatch(r"[0-9.]+", row[task])}
