"""The result of one attention on one task: its runs, their mean and spread, or why it failed."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from lra_bench.records.find import leave_out
from lra_bench.records.labels import labels
from lra_bench.records.record import Record, Score

# The numbers of a record that a result has medians of.
Quantity = Literal["parameters", "parameters_vs_softmax", "steps_per_second", "peak_memory_bytes"]
# A run counts as learned if its test accuracy is more binomial standard errors above chance: one
# that guesses is so in 0.1 to 0.2 % of cases.
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
        """Return the accuracy on the test split of the task's guess, in [0, 1]."""
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
    def right(self) -> dict[int, Float[np.ndarray, " n"]]:
        """Return by seed how well each test example was answered, where known.

        The mean over examples is the accuracy; where an example has one answer, it is 1 or 0.
        """
        answers = {seed: score.shares() for seed, score in self.tests.items()}
        return {seed: right for seed, right in answers.items() if right is not None}

    @property
    def mean(self) -> float | None:
        """Return the mean test accuracy over seeds, in [0, 1]; None if every run failed."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def sd(self) -> float | None:
        """Return the standard deviation over seeds (n - 1); None for fewer than two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @cached_property
    def at_chance(self) -> frozenset[int]:
        """Return the seeds whose test accuracy is not well above chance."""
        return frozenset(
            seed for seed, score in self.tests.items() if score.accuracy <= _learned(self, score)
        )

    def failure(self) -> str | None:
        """Say why a table shows FAIL: no seed has an accuracy above chance; else None."""
        if self.mean is None:
            return ", ".join(sorted({run.status.replace("_", " ") for run in self.runs}))
        if len(self.at_chance) < len(self.tests):
            return None
        others = f"; {self.num_failed} failed" if self.num_failed else ""
        return f"at chance, {self.mean:.1%}{others}"

    def exceptions(self) -> str:
        """Return the seeds that did not go well, such as "2 of 3 at chance, 1 failed"; or ""."""
        at_chance, runs = len(self.at_chance), len(self.runs)
        parts = [f"{at_chance} of {runs} at chance"] if at_chance else []
        parts += [f"{self.num_failed} failed"] if self.num_failed else []
        return ", ".join(parts)

    def text(self) -> str:
        """Return the result in percent, such as "36.2 ± 0.4", or "FAIL (diverged)"."""
        failure = self.failure()
        if failure or self.mean is None:
            return f"FAIL ({failure})"
        exceptions = self.exceptions()
        return percent(self.mean, self.sd) + (f" ({exceptions})" if exceptions else "")

    def device(self, quantity: Quantity) -> str | None:
        """Return the device of the runs that have a quantity, in words; None if there are several.

        The record of a run that was killed may name no device.
        """
        devices = {run.device for run in self.runs if getattr(run, quantity) is not None}
        return devices.pop() if len(devices) == 1 else None

    def median(self, quantity: Quantity) -> float | None:
        """Return the median of a quantity over the runs that have it; None if none has."""
        values = [getattr(run, quantity) for run in self.runs]
        measured = [value for value in values if value is not None]
        return statistics.median(measured) if measured else None


def _learned(result: Result, score: Score) -> float:
    """Return the accuracy that a run must exceed to count as learned, in [0, 1]."""
    return result.chance + ABOVE_CHANCE * math.sqrt(score.variance(result.chance))


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
    records = sorted(records, key=lambda run: run.status != "ok")
    for run, name in zip(records, labels(records), strict=True):
        key = name, run.task
        if run.seed in runs[key]:
            where = f"{run.path}: " if run.path else ""
            leave_out(f"{where}a second record of {key[0]} on {key[1]}, seed {run.seed}")
        runs[key].setdefault(run.seed, run)
    return [Result(*key, tuple(by_seed.values())) for key, by_seed in sorted(runs.items())]
