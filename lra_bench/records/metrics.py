"""metrics.jsonl: one line each time a run logs or evaluates."""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lra_bench.contracts import HELD_OUT
from lra_bench.files.atomic import write_atomically
from lra_bench.files.json_lines import LINE_CHECKSUM, json_line, parse_lines, text_of_lines
from lra_bench.records.answers import ANSWERS, Answers, answers_of
from lra_bench.records.record import Score
from lra_bench.records.values import (
    is_number,
    is_positive,
    is_share,
    is_text,
    is_whole,
    or_none,
)

FILE = "metrics.jsonl"
# Accuracies of checkpoints come from a difference; two accuracies differ by an example or more.
_ROUNDING = 1e-9


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
        answers: of a test, those on each example.
    """

    step: int
    split: str
    loss: float
    accuracy: float
    seconds: float | None
    answers: Answers | None = None

    def score(self, examples: int) -> Score:
        """Return the score of a split of so many examples."""
        return Score(self.accuracy, self.loss, examples, self.answers)

    def as_text(self) -> str:
        """Return the line of JSON, with its checksum and its end."""
        values: dict[str, Any] = {
            "step": self.step,
            "split": self.split,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "seconds": self.seconds,
        }
        return json_line({**values, **(self.answers.as_dict() if self.answers else {})})


@dataclass(frozen=True)
class Saved:
    """A Saved tells what the checkpoints of a run know of its metrics.

    Attributes:
        step: of the latest checkpoint.
        evaluated: the latest step whose evaluation is saved too, like all before it.
        lines: the text of the lines that the latest checkpoint holds; None in old checkpoints.
        accuracies: validation accuracies, in [0, 1], by the step of their checkpoint.
    """

    step: int = 0
    evaluated: int = -1
    lines: str | None = None
    accuracies: Mapping[int, float] = field(default_factory=dict)

    def has(self, line: MetricsLine) -> bool:
        """Return whether the run will not write the line again."""
        last = {
            "train": self.step,
            "validation": self.evaluated,
            "test": min(self.evaluated, 0),
            HELD_OUT: min(self.evaluated, 0),
        }
        return line.step <= last.get(line.split, -1)

    def contradicts(self, line: MetricsLine) -> bool:
        """Return whether the checkpoint of the line's step has another accuracy."""
        if line.split != "validation" or line.step not in self.accuracies:
            return False
        return abs(line.accuracy - self.accuracies[line.step]) > _ROUNDING


class Metrics:
    """Appends lines to the metrics of one run; each line is on disk before `write` returns.

    Attributes:
        follow: is called with each line that is written.
        restored: a sentence on lines that were damaged or missing when the file was opened; ""
            if there were none.
    """

    def __init__(
        self, folder: Path, saved: Saved, follow: Callable[[MetricsLine], None] | None = None
    ) -> None:
        """Open the file, and drop the lines that the run will write again.

        Args:
            folder: the run's.
            saved: what the checkpoints tell of the lines. Lines that the latest one holds take the
                place of those in the file.
            follow: is called with each line that is written.
        """
        self.follow = follow
        path = folder / FILE
        lines, damaged = read_counting(path)
        kept = [line for line in lines if saved.has(line)]
        if saved.lines is None:
            right = [line for line in kept if not saved.contradicts(line)]
            self.restored = _lost_text(path, damaged + len(kept) - len(right))
            kept = right
        else:
            whole, _ = parse(saved.lines)
            self.restored = _restored_text(path, kept, whole)
            kept = whole
        self.text = "".join(line.as_text() for line in kept)
        write_atomically(path, self.text)
        self._file = path.open("a")

    def write(
        self,
        step: int,
        split: str,
        loss: float,
        accuracy: float,
        seconds: float | None,
        answers: Answers | None = None,
    ) -> None:
        """Append one line; see `MetricsLine`."""
        rounded = None if seconds is None else round(seconds, 6)
        line = MetricsLine(step, split, loss, accuracy, rounded, answers)
        text = line.as_text()
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.text += text
        if self.follow is not None:
            self.follow(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lost_text(path: Path, damaged: int) -> str:
    if not damaged:
        return ""
    lines = f"{damaged} line{' is' if damaged == 1 else 's are'}"
    return f"{path}: {lines} damaged and left out; the latest checkpoint holds no copy of them"


def _restored_text(path: Path, lines: Sequence[MetricsLine], whole: Sequence[MetricsLine]) -> str:
    present = set(lines)
    lost = [f"{line.split} at step {line.step}" for line in whole if line not in present]
    if not lost and list(lines) == list(whole):
        return ""
    which = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
    what = f"damaged or missing lines ({which})" if lost else "other lines than the run wrote"
    return f"{path} had {what}; restored from the latest checkpoint"


def read(path: Path) -> list[MetricsLine]:
    """Return the lines of a metrics file; damaged ones are left out; see `read_counting`."""
    return read_counting(path)[0]


def read_counting(path: Path) -> tuple[list[MetricsLine], int]:
    """Return the lines of a metrics file, and how many others are damaged.

    A last line without its end does not count: a kill has cut it off, or it is being written. A
    file that is not there has no lines.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
    """
    return parse(text_of_lines(path))


def parse(text: str) -> tuple[list[MetricsLine], int]:
    """Return the lines in a text, and how many others are damaged; see `read_counting`.

    One version writes all lines of a file, so either all of them have a checksum or none.
    """
    sealed = f'"{LINE_CHECKSUM}"' in text
    whole, _, tail = text.rpartition("\n")
    values, damaged = parse_lines(whole, sealed=sealed)
    lines = _lines(values)
    damaged += len(values) - len(lines)
    return [*lines, *_lines(parse_lines(tail, sealed=sealed)[0])], damaged


def _lines(values: Sequence[Any]) -> list[MetricsLine]:
    """Return the lines among these values."""
    return [
        MetricsLine(**{key: value[key] for key in _VALID}, answers=answers_of(value))
        for value in values
        if _is_line(value)
    ]


_VALID = {
    "step": is_whole,
    "split": is_text,
    "loss": is_number,
    "accuracy": is_share,
    "seconds": or_none(is_number),
}


def _is_line(values: Any) -> bool:
    if not isinstance(values, dict) or values.keys() - {*ANSWERS} != _VALID.keys():
        return False
    known = all(valid(values[key]) for key, valid in _VALID.items())
    return known and all(is_text(values[key]) for key in ANSWERS if key in values)


def find(lines: Sequence[MetricsLine], split: str, step: int) -> MetricsLine | None:
    """Return the first line of a split at a step."""
    return next((line for line in lines if (line.split, line.step) == (split, step)), None)


def steps_per_second(lines: Sequence[MetricsLine], log_every: int) -> float | None:
    """Return the median rate over the training lines, the first left out as warm-up.

    The time of a line is that of the steps since the line before. Where that one is missing, the
    steps are not counted.

    Args:
        lines: of the run, in order.
        log_every: steps from one training line to the next; the last may come earlier.
    """
    rates, before = [], 0
    for line in lines:
        if line.split == "train":
            if line.seconds and 0 < line.step - before <= log_every:
                rates.append((line.step - before) / line.seconds)
            before = line.step
    rates = [rate for rate in rates if is_positive(rate)]
    return statistics.median(rates[1:] or rates) if rates else None
