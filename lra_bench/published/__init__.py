"""Published figures, which are shown beside a user's own runs and never averaged with them.

The CSV files in this folder hold the figures as the sources print them; see docs/published.md.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from statistics import fmean

# The names under which the sources publish each mechanism. Mechanisms that are not registered are
# ignored.
_NAMES = {
    "softmax": (
        "Transformer",
        "Standard",
        "Self-Attention",
        "XFM (re-run by MEGA)",
        "Transformer (re-run by FlashAttention)",
        "Transformer (as in LUNA 2025)",
        "Softmax ('OT', original Transformer; Spectraformer's run)",
    ),
    "performer-softmax": (
        "Performer",
        "Favor-256 (redraw)",
        "Performer (re-run by FlashAttention)",
        "PosRF-ORF (Spectraformer's run)",
    ),
    "performer-relu": ("Performer", "Performer (re-run by FlashAttention)"),
    "favor-plus-plus": ("OPRF-OR (Spectraformer's run)",),
    "favor-sharp": ("SADERF-ORF (Spectraformer's run)",),
    "linformer": (
        "Linformer",
        "Linformer-seq/4 (no redraw)",
        "Linformer (re-run by FlashAttention)",
        "Linformer (Spectraformer's run)",
    ),
    "linear": ("Linear Trans.", "Linear Attention (re-run by FlashAttention)"),
    "reformer": (
        "Reformer",
        "Reformer (re-run by FlashAttention)",
        "Reformer (Spectraformer's run)",
    ),
    "local": ("Local Attention", "Local Attention (re-run by FlashAttention)"),
    "sparse": ("Sparse Trans.",),
    "longformer": ("Longformer",),
    "sinkhorn": ("Sinkhorn Trans.", "Sinkhorn Trans"),
    "synthesizer": ("Synthesizer",),
    "bigbird": ("BigBird", "Big Bird (Spectraformer's run)"),
    "nystromformer": (
        "Nystromformer",
        "Nystromformer-128",
        "Nystromformer (as in S4)",
        "Nystromformer (own paper)",
        "Nystromformer (re-run 2025/26)",
        "Nystromformer (Spectraformer's run)",
    ),
    "skyformer": ("Skyformer", "Skyformer (Spectraformer's run)"),
    "cosformer": ("cosFormer (HGRN's run)",),
    "h-transformer": ("H-Transformer-1D",),
    "luna": ("Luna-256 (as in MEGA)", "Luna-256 (as in S4)"),
    "fnet": ("FNet", "FourierMix"),
    "s4": ("S4", "S4-v1", "S4-v2", "S4-v2 (re-run by MEGA)"),
    "s4d": ("S4D-LegS",),
    "s5": ("S5", "S5 (re-run by FRACTAL)"),
    "mega": ("MEGA", "MEGA-chunk"),
    "long-conv": ("SGConv",),
    "lion": ("LION-LIT", "LION-S (w/ HIPPO)", "LION-D (w/ HIPPO)"),
}
_TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
# The kernel of each source's "Performer", where its code tells. Nystromformer and Skyformer choose
# a ReLU kernel, but not the option without which performer-pytorch ignores that choice.
_KERNEL: dict[str, str] = dict.fromkeys(
    ("nystromformer", "skyformer", "xformers"), "performer-softmax"
)
# The presets that follow the code of a source.
_PRESETS = {"LRA paper": "lra", "nystromformer": "nystromformer", "skyformer": "skyformer"}


@dataclass(frozen=True)
class Published:
    """A published row holds the accuracies of one model in one source, in percent.

    Attributes:
        source: the name of the source, with an identifier at arXiv only if that was not checked.
        model: the name of the model in the source.
        accuracy: accuracy by task, in percent, without the tasks at which the model failed.
        failed: the tasks at which the model failed.
        average: the average as printed, in percent; None if there is none.
        brackets: of ListOps, "dropped" or "kept" as the source's code reads it, else "unknown".
    """

    source: str
    model: str
    accuracy: dict[str, float] = field(hash=False)
    failed: frozenset[str] = frozenset()
    average: float | None = None
    brackets: str = "unknown"

    @property
    def preset(self) -> str | None:
        """Return the preset that follows the code of the source; None if there is none."""
        return _PRESETS.get(self.source)

    def setting(self, task: str) -> str:
        """Return what a figure is to be compared with, such as "preset lra, brackets dropped"."""
        brackets = f", brackets {self.brackets}" if task == "listops" else ""
        return f"preset {self.preset}{brackets}" if self.preset else ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that have a figure, in the order of tables."""
        return tuple(task for task in _TASKS if task in self.accuracy)

    def mean(self, tasks: Sequence[str]) -> float | None:
        """Return the mean of the figures of these tasks, in percent; None if one is missing.

        A task at which the model failed has no figure: it counts neither as chance nor as 0.
        """
        if not tasks or not set(tasks) <= self.accuracy.keys():
            return None
        return fmean(self.accuracy[task] for task in tasks)


@cache
def results() -> tuple[Published, ...]:
    """Return every published row: Table 1 of the LRA paper, later results, then those of rivals.

    Rows without figures, and rows of rivals that only repeat figures of an earlier row, are left
    out.
    """
    paper = [
        {**row, "source": "LRA paper", "avg": row["avg_printed"]}
        for row in _read("lra_paper_table1")
    ]
    rows = list(map(_published, [*paper, *_read("later_results")]))
    for row in map(_published, map(_of_rival, _read("rivals"))):
        if row.accuracy and not any(_repeats(row, earlier) for earlier in rows):
            rows.append(row)
    return tuple(rows)


def _of_rival(row: dict[str, str]) -> dict[str, str]:
    """Return a row of rivals.csv with the columns of later_results.csv.

    The first clause of the source says where the figures were read.
    """
    source = row["source"].partition(";")[0].replace(" paper text", " paper")
    if row["arxiv_checked"] == "no":
        source += f", arXiv:{row['arxiv']} not checked"
    return {**row, "source": source, "avg": row["avg_printed"]}


def _repeats(row: Published, earlier: Published) -> bool:
    """Return whether an earlier row has all figures and failures of a row."""
    return row.accuracy.items() <= earlier.accuracy.items() and row.failed <= earlier.failed


def _published(row: dict) -> Published:
    failed = frozenset(task for task in _TASKS if row[task] == "FAIL")
    average = float(row["avg"]) if row["avg"] else None
    brackets = _brackets(row["source"], row["model"])
    return Published(row["source"], row["model"], _accuracy(row), failed, average, brackets)


def brackets() -> list[dict[str, str]]:
    """Return what sources' code does with the brackets of ListOps, where it is known.

    Each entry has "source", the start of its name, "model", which is "" for all of the source,
    "brackets", which is "dropped" or "kept", and "evidence".
    """
    return _read("listops_brackets")


def _brackets(source: str, model: str) -> str:
    for known in brackets():
        if source.startswith(known["source"]) and known["model"] in ("", model):
            return known["brackets"]
    return "unknown"


def of(attention: str, task: str) -> list[Published]:
    """Return the published rows of a mechanism that have a figure for a task."""
    rows = (row for row in results() if task in row.accuracy)
    return [row for row in rows if _is_of(row.source, row.model, attention, task)]


def _is_of(source: str, model: str, attention: str, task: str) -> bool:
    """Return whether a figure is of a mechanism; a "Performer" of unknown kernel is of both."""
    kernel = _kernel(source, task)
    if model == "Performer" and kernel:
        return kernel == attention
    return model in _NAMES.get(attention, ())


def _kernel(source: str, task: str) -> str | None:
    """Return the mechanism of a source's "Performer"; that of the LRA paper depends on the task."""
    if source == "LRA paper":
        return "performer-softmax" if task == "listops" else "performer-relu"
    return _KERNEL.get(source)


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
    rows = (row for row in speeds() if _is_of("LRA paper", row.model, attention, "text"))
    return next(rows, None)


def _by_length(row: dict, name: str) -> dict[int, float]:
    return {thousands: float(row[f"{name}_{thousands}k"]) for thousands in (1, 2, 3, 4)}


@cache
def _read(name: str) -> list[dict[str, str]]:
    """Read the rows of a CSV file. pandas would add half a second to the start of every run."""
    text = (files("lra_bench") / "published" / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def _accuracy(row: dict) -> dict[str, float]:
    """Return the accuracies of a row, in percent, without empty cells and FAIL."""
    return {task: float(row[task]) for task in _TASKS if re.fullmatch(r"[0-9.]+", row[task])}
