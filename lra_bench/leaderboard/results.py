"""The runs of one attention on one task: what they come to."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from jaxtyping import Int8

from lra_bench.errors import UsageError
from lra_bench.records import answers
from lra_bench.records.find import leave_out

Record = dict[str, Any]
_REASONS = {"out_of_memory": "out of memory"}
# How many binomial standard errors above chance a test accuracy must lie to count as learned.
ABOVE_CHANCE = 3


@dataclass(frozen=True)
class Cell:
    """The runs of one attention on one task in one setting, one a seed."""

    attention: str
    task: str
    runs: tuple[Record, ...]

    @cached_property
    def finished(self) -> dict[int, Record]:
        """The runs that have a test accuracy, by their seeds."""
        return {run["seed"]: run for run in self.runs if run["status"] == "ok"}

    @cached_property
    def accuracies(self) -> list[float]:
        """Test accuracies of the runs that have one, in [0, 1]."""
        return [run["test"]["accuracy"] for run in self.runs if run["status"] == "ok"]

    @cached_property
    def right(self) -> dict[int, Int8[np.ndarray, " n"]]:
        """Which test examples were answered rightly, 1 or 0, by the seeds of runs that tell."""
        tests = {seed: run["test"] for seed, run in self.finished.items()}
        return {
            seed: answers.unpack(test["correct"], test["examples"]).astype(np.int8)
            for seed, test in tests.items()
            if "correct" in test
        }

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def failure(self) -> str | None:
        """Why the cell says FAIL: every run failed, or the mean isn't above chance."""
        if self.mean is None:
            reasons: set[str] = {run["status"] for run in self.runs}
            return ", ".join(sorted(_REASONS.get(reason, reason) for reason in reasons))
        chance = self.runs[0]["chance"]
        examples = next(run["test"]["examples"] for run in self.runs if run["status"] == "ok")
        error = math.sqrt(chance * (1 - chance) / examples)
        at_chance = self.mean <= chance + ABOVE_CHANCE * error
        return f"at chance, {self.mean:.1%}" if at_chance else None

    def text(self) -> str:
        """Such as "36.2 ± 0.4" in percent, or "FAIL (diverged)"."""
        failure = self.failure()
        if failure or self.mean is None:
            return f"FAIL ({failure})"
        lost = len(self.runs) - len(self.accuracies)
        return percent(self.mean, self.sd) + (f" ({lost} failed)" if lost else "")

    def median(self, key: str) -> float | None:
        """The median over the runs that have the figure."""
        values: list[float] = [run[key] for run in self.runs if run.get(key) is not None]
        return statistics.median(values) if values else None


def percent(mean: float, sd: float | None) -> str:
    """Such as "36.2 ± 0.4"; without the spread where there is none."""
    spread = f" ± {100 * sd:.1f}" if sd is not None else ""
    return f"{100 * mean:.1f}{spread}"


def cells(records: Iterable[Record]) -> list[Cell]:
    """Cells of one setting, by attention and task; one run a seed, one that ended well if any."""
    runs: dict[tuple[str, str], dict[int, Record]] = defaultdict(dict)
    for run in sorted(records, key=lambda run: run["status"] != "ok"):
        key = (label(run), run["task"])
        if run["seed"] in runs[key]:
            where = f"{run['path']}: " if "path" in run else ""
            leave_out(f"{where}a second record of {key[0]} on {key[1]}, seed {run['seed']}")
        runs[key].setdefault(run["seed"], run)
    return [Cell(*key, tuple(found.values())) for key, found in sorted(runs.items())]


def label(run: Record) -> str:
    """The attention, with the options that aren't its defaults and the one it started from."""
    return attention_label(run["attention"], run["config"]["attention_options"]) + _origin(run)


def attention_label(attention: str, options: dict[str, Any]) -> str:
    """The attention, with those of its options that aren't its defaults."""
    usual = _usual(attention)
    shown = sorted(options.items())
    changed = [f"{key}={value}" for key, value in shown if usual.get(key) != value]
    return attention + (f" ({', '.join(changed)})" if changed else "")


@cache
def _usual(attention: str) -> dict[str, Any]:
    from lra_bench.registry import ATTENTIONS

    try:
        return ATTENTIONS.get(attention).options()
    except UsageError:
        return {}


def _origin(run: Record) -> str:
    """Whose checkpoint a run started with: its training came before the steps of this one."""
    origin = run.get("init_from")
    if origin is None:
        return ""
    where = "" if origin["task"] == run["task"] else f" on {origin['task']}"
    return f" from {origin['attention']}{where}"
