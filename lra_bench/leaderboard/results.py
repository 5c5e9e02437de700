"""The result of one attention on one task: its runs, their mean and spread, or why it failed."""

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

# The numbers of a record that a result has medians of.
Quantity = Literal["parameters", "parameters_vs_softmax", "steps_per_second", "peak_memory_bytes"]
# A mean test accuracy counts as learned if it is more binomial standard errors above chance.
ABOVE_CHANCE = 3
# The parameter budget of a leaderboard: at most so many times the parameters of softmax.
BUDGET = 1.10


@dataclass(frozen=True)
class Result:
    """The runs of one attention on one task in one setting, one run for each seed.

    Attributes:
        attention: its label, such as "linformer (num_projected=64)".
        task: name of the task.
        runs: at least one.
    """

    attention: str
    task: str
    runs: tuple[Record, ...]

    @cached_property
    def finished(self) -> dict[int, Record]:
        """Return the runs that ended well, by their seeds."""
        return {run.seed: run for run in self.runs if run.status == "ok"}

    @cached_property
    def tests(self) -> dict[int, Score]:
        """Return the test scores of the runs that ended well, by their seeds."""
        return {seed: run.test for seed, run in self.finished.items() if run.test is not None}

    @property
    def attention_name(self) -> str:
        """Return the name of the attention in the registry, without options."""
        return self.runs[0].attention

    @property
    def chance(self) -> float:
        """Return the share of the commonest label of the test split, in [0, 1]."""
        return self.runs[0].chance

    @cached_property
    def accuracies(self) -> list[float]:
        """Return the test accuracies of the runs that have one, in [0, 1]."""
        return [score.accuracy for score in self.tests.values()]

    @property
    def num_failed(self) -> int:
        """Return the number of runs without a test accuracy."""
        return len(self.runs) - len(self.accuracies)

    @cached_property
    def right(self) -> dict[int, Int8[np.ndarray, " n"]]:
        """Return by seed which test examples were answered rightly, as 1 or 0, where known."""
        answers = {seed: score.shares() for seed, score in self.tests.items()}
        return {seed: right.astype(np.int8) for seed, right in answers.items() if right is not None}

    @property
    def mean(self) -> float | None:
        """Return the mean test accuracy over seeds, in [0, 1]; None if every run failed."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def sd(self) -> float | None:
        """Return the standard deviation over seeds (n - 1); None for fewer than two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def is_at_chance(self) -> bool:
        """Return whether there is a mean accuracy, but not one well above chance."""
        if self.mean is None:
            return False
        examples = next(iter(self.tests.values())).examples
        error = math.sqrt(self.chance * (1 - self.chance) / examples)
        return self.mean <= self.chance + ABOVE_CHANCE * error

    def failure(self) -> str | None:
        """Say why a table shows FAIL: every run failed, or the mean is at chance; else None."""
        if self.mean is None:
            return ", ".join(sorted({run.status.replace("_", " ") for run in self.runs}))
        return f"at chance, {self.mean:.1%}" if self.is_at_chance else None

    def text(self) -> str:
        """Return the result in percent, such as "36.2 ± 0.4", or "FAIL (diverged)"."""
        failure = self.failure()
        if failure or self.mean is None:
            return f"FAIL ({failure})"
        failed = f" ({self.num_failed} failed)" if self.num_failed else ""
        return percent(self.mean, self.sd) + failed

    def median(self, quantity: Quantity) -> float | None:
        """Return the median of a quantity over the runs that have it; None if none has."""
        values = [getattr(run, quantity) for run in self.runs]
        measured = [value for value in values if value is not None]
        return statistics.median(measured) if measured else None


def percent(mean: float, sd: float | None = None) -> str:
    """Return a mean and its spread in percent, such as "36.2 ± 0.4"; "36.2" without a spread."""
    return "".join(percent_parts(mean, sd))


def percent_parts(mean: float, sd: float | None) -> tuple[str, str]:
    """Return the two parts of `percent`, such as "36.2" and " ± 0.4"; the second may be ""."""
    return f"{100 * mean:z.1f}", "" if sd is None else f" ± {100 * sd:z.1f}"


def results(records: Iterable[Record]) -> list[Result]:
    """Return the results in the records of one setting, by attention and task.

    Of several records with one seed, one that ended well counts; the others are named as left out.
    """
    runs: dict[tuple[str, str], dict[int, Record]] = defaultdict(dict)
    for run in sorted(records, key=lambda run: run.status != "ok"):
        key = label(run), run.task
        if run.seed in runs[key]:
            where = f"{run.path}: " if run.path else ""
            leave_out(f"{where}a second record of {key[0]} on {key[1]}, seed {run.seed}")
        runs[key].setdefault(run.seed, run)
    return [Result(*key, tuple(by_seed.values())) for key, by_seed in sorted(runs.items())]
