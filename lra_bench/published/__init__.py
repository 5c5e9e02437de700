"""Published numbers: shown beside one's own runs, never averaged with them.

The files in `lra_bench/published/` hold what the sources print; see docs/published.md.
"""

import csv
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

# The published name of each mechanism, by source.
_NAMES = {
    "softmax": ("Transformer", "Standard", "Self-Attention"),
    "performer-softmax": ("Performer", "Favor-256 (redraw)"),
    "performer-relu": ("Performer",),
    "linformer": ("Linformer", "Linformer-seq/4 (no redraw)"),
    "linear": ("Linear Trans.",),
    "reformer": ("Reformer",),
}
_TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
# Which kernel a source's "Performer" has, where it says so.
_KERNEL = {"nystromformer": "performer-relu", "xformers": "performer-softmax"}


@dataclass(frozen=True)
class Published:
    """One model in one source, in percent.

    Attributes:
        accuracy: by task; a task it failed at is left out.
        failed: those tasks.
        average: as printed.
    """

    source: str
    model: str
    accuracy: dict[str, float] = field(hash=False)
    failed: frozenset[str] = frozenset()
    average: float | None = None


@cache
def results() -> tuple[Published, ...]:
    """Every published row: the LRA paper's Table 1, then what others found later."""
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
    """The published rows of a mechanism that have a figure for a task."""
    return [
        row
        for row in results()
        if row.model in _NAMES.get(attention, ())
        and task in row.accuracy
        and not (row.model == "Performer" and _KERNEL.get(row.source, attention) != attention)
    ]


@dataclass(frozen=True)
class Speed:
    """A row of the LRA paper's Table 2: byte text, batch 32, 4x4 TPU v3.

    Attributes:
        steps_per_second: of training, by thousands of tokens.
        relative: the same over the Transformer's, as printed.
        gigabytes: peak memory of a device.
    """

    model: str
    steps_per_second: dict[int, float]
    relative: dict[int, float]
    gigabytes: dict[int, float]


@cache
def speeds() -> tuple[Speed, ...]:
    """The LRA paper's Table 2, in its order."""
    columns = ("sps", "rel", "gb")
    return tuple(
        Speed(row["model"], *(_by_length(row, name) for name in columns))
        for row in _read("lra_paper_table2")
    )


def _by_length(row: dict, name: str) -> dict[int, float]:
    return {thousands: float(row[f"{name}_{thousands}k"]) for thousands in (1, 2, 3, 4)}


def _read(name: str) -> list[dict[str, str]]:
    """Rows, of strings. Without pandas, which would be half a second of every run's start."""
    text = (files("lra_bench") / "published" / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def _accuracy(row: dict) -> dict[str, float]:
    """The figures; an empty cell or FAIL isn't one."""
    return {task: float(row[task]) for task in _TASKS if re.fullmatch(r"[0-9.]+", row[task])}
