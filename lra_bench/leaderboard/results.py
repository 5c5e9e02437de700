"""The runs of one attention on one task: what they come to."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int8

from lra_bench.records.find import leave_out
from lra_bench.records.labels import label
from lra_bench.records.record import Record, Score

# The figures of a record that cells have medians of.
Figure = Literal["parameters", "parameters_vs_softmax", "steps_per_second", "peak_memory_bytes"]
_REASONS = {"out_of_memory": "out of memory"}
# How many binomial standard errors above chance a test accuracy must lie to count as learned.
ABOVE_CHANCE = 3


@dataclass(frozen=True)
class Result:
    """The runs of one attention on one task in one setting, one a seed."""

    attention: str
    task: str
    runs: tuple[Record, ...]

    @cached_property
    def finished(self) -> dict[int, Record]:
        """The runs that have a test accuracy, by their seeds."""
        return {run.seed: run for run in self.runs if run.status == "ok"}

    @cached_property
    def tests(self) -> dict[int, Score]:
        """Return the test scores of the runs that ended well, by their seeds."""
        return {seed: run.test for seed, run in self.finished.items() if run.test is not None}

    @property
    def chance(self) -> float:
        """Return the share of the commonest label of the test split, in [0, 1]."""
        return self.runs[0].chance

    @cached_property
    def accuracies(self) -> list[float]:
        """Test accuracies of the runs that have one, in [0, 1]."""
        return [score.accuracy for score in self.tests.values()]

    @cached_property
    def right(self) -> dict[int, Int8[np.ndarray, " n"]]:
        """Which test examples were answered rightly, 1 or 0, by the seeds of runs that tell."""
        found = {seed: score.right() for seed, score in self.tests.items()}
        return {seed: right.astype(np.int8) for seed, right in found.items() if right is not None}

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
            reasons: set[str] = {run.status for run in self.runs}
            return ", ".join(sorted(_REASONS.get(reason, reason) for reason in reasons))
        examples = next(iter(self.tests.values())).examples
        error = math.sqrt(self.chance * (1 - self.chance) / examples)
        at_chance = self.mean <= self.chance + ABOVE_CHANCE * error
        return f"at chance, {self.mean:.1%}" if at_chance else None

    def text(self) -> str:
        """Such as "36.2 ± 0.4" in percent, or "FAIL (diverged)"."""
        failure = self.failure()
        if failure or self.mean is None:
            return f"FAIL ({failure})"
        lost = len(self.runs) - len(self.accuracies)
        return percent(self.mean, self.sd) + (f" ({lost} failed)" if lost else "")

    def median(self, figure: Figure) -> float | None:
        """Return the median of a figure over the runs that have it."""
        values = [value for run in self.runs if (value := getattr(run, figure)) is not None]
        return statistics.median(values) if values else None


def percent(mean: float, sd: float | None) -> str:
    """Such as "36.2 ± 0.4"; without the spread where there is none."""
    spread = f" ± {100 * sd:.1f}" if sd is not None else ""
    return f"{100 * mean:.1f}{spread}"


def results(records: Iterable[Record]) -> list[Result]:
    """Cells of one setting, by attention and task; one run a seed, one that ended well if any."""
    runs: dict[tuple[str, str], dict[int, Record]] = defaultdict(dict)
    for run in sorted(records, key=lambda run: run.status != "ok"):
        key = (label(run), run.task)
        if run.seed in runs[key]:
            where = f"{run.path}: " if run.path else ""
            leave_out(f"{where}a second record of {key[0]} on {key[1]}, seed {run.seed}")
        runs[key].setdefault(run.seed, run)
    return [Result(*key, tuple(found.values())) for key, found in sorted(runs.items())]
