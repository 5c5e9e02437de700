"""metrics.jsonl: one line each time a run logs or evaluates."""

import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lra_bench.files import write_atomically
from lra_bench.records import answers
from lra_bench.records.record import Score
from lra_bench.records.values import is_number, is_share, is_text, is_whole, or_none

FILE = "metrics.jsonl"


@dataclass(frozen=True)
class MetricsLine:
    """One line of the metrics of a run.

    Attributes:
        step: updates done.
        split: "train", "validation" or "test".
        loss: mean cross-entropy, in nats.
        accuracy: share of right answers, in [0, 1].
        seconds: time of the steps since the last training line, or of the evaluation, without
            waiting for data; None if the run was stopped within it, so that not all was timed.
        correct: of a test, which examples were answered rightly, packed by `answers.pack`.
    """

    step: int
    split: str
    loss: float
    accuracy: float
    seconds: float | None
    correct: str | None = None

    def score(self, examples: int) -> Score:
        """Return the score of a split of so many examples."""
        return Score(self.accuracy, self.loss, examples, self.correct)

    def as_text(self) -> str:
        """Return the line of JSON, with its end."""
        values: dict[str, Any] = {
            "step": self.step,
            "split": self.split,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "seconds": self.seconds,
        }
        if self.correct is not None:
            values["correct"] = self.correct
        return json.dumps(values, allow_nan=False) + "\n"


class Metrics:
    """Appends lines to the metrics of one run; each line is on disk before `write` returns."""

    def __init__(self, folder: Path, last_step: int, last_evaluated: int) -> None:
        """Open the file, and drop the lines that the run will write again.

        Args:
            folder: the run's.
            last_step: the step of the latest checkpoint.
            last_evaluated: the latest step whose evaluation is saved too, like all before it.
        """
        path = folder / FILE
        last = {"train": last_step, "validation": last_evaluated, "test": min(last_evaluated, 0)}
        kept = [line for line in read(path) if line.step <= last.get(line.split, -1)]
        write_atomically(path, "".join(line.as_text() for line in kept))
        self._file = path.open("a")

    def write(
        self,
        step: int,
        split: str,
        loss: float,
        accuracy: float,
        seconds: float | None,
        correct: Bool[np.ndarray, " n"] | None = None,
    ) -> None:
        """Append one line; see `MetricsLine`."""
        rounded = None if seconds is None else round(seconds, 6)
        packed = None if correct is None else answers.pack(correct)
        line = MetricsLine(step, split, loss, accuracy, rounded, packed)
        self._file.write(line.as_text())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[MetricsLine]:
    """Return the lines of a metrics file up to the first that was cut off or damaged."""
    return list(_whole_lines(path)) if path.exists() else []


def _whole_lines(path: Path) -> Iterator[MetricsLine]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not _is_line(values):
            return
        yield MetricsLine(**values)


_VALID = {
    "step": is_whole,
    "split": is_text,
    "loss": is_number,
    "accuracy": is_share,
    "seconds": or_none(is_number),
}


def _is_line(values: Any) -> bool:
    if not isinstance(values, dict) or values.keys() - {"correct"} != _VALID.keys():
        return False
    known = all(valid(values[key]) for key, valid in _VALID.items())
    return known and or_none(is_text)(values.get("correct"))


def find(lines: Sequence[MetricsLine], split: str, step: int) -> MetricsLine | None:
    """Return the first line of a split at a step."""
    return next((line for line in lines if (line.split, line.step) == (split, step)), None)


def steps_per_second(lines: Sequence[MetricsLine]) -> float | None:
    """Return the median rate over the training lines, the first left out as warm-up."""
    rates, before = [], 0
    for line in lines:
        if line.split == "train":
            if line.seconds:
                rates.append((line.step - before) / line.seconds)
            before = line.step
    return statistics.median(rates[1:] or rates) if rates else None
