"""metrics.jsonl: one line a log or evaluation."""

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lra_bench.files import write_atomically
from lra_bench.records import answers

FILE = "metrics.jsonl"
_KEYS = {"step", "split", "loss", "accuracy", "seconds"}
_OPTIONAL = {"correct"}


class Metrics:
    """Appends lines, each flushed, to the metrics of one run.

    A line has `step`, `split` (train, validation or test), `loss`, `accuracy` and `seconds`:
    how long its steps or its evaluation took, waiting for data left out; null where the run was
    stopped between, so that not all of it was timed. A test's has `correct` too: which examples
    were answered rightly, see `correctness`.
    """

    def __init__(self, folder: Path, last_step: int, last_evaluated: int) -> None:
        """Open for appending; what isn't in a checkpoint will be written again.

        Args:
            folder: the run's.
            last_step: whose state is saved.
            last_evaluated: whose evaluation, and those of all steps before it, are saved too.
        """
        path = folder / FILE
        last = {"train": last_step, "validation": last_evaluated, "test": min(last_evaluated, 0)}
        kept = [line for line in read(path) if line["step"] <= last.get(line["split"], -1)]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(path, text)
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
        """Append one line."""
        line: dict[str, Any] = {
            "step": step,
            "split": split,
            "loss": loss,
            "accuracy": accuracy,
            "seconds": None if seconds is None else round(seconds, 6),
        }
        if correct is not None:
            line["correct"] = answers.pack(correct)
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file up to the first that was cut off or damaged."""
    return list(_whole_lines(path)) if path.exists() else []


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            return
        if not isinstance(line, dict) or line.keys() - _OPTIONAL != _KEYS:
            return
        yield line


def steps_per_second(lines: list[dict[str, Any]]) -> float | None:
    """The median over the training lines of steps / seconds, the first left out as warm-up."""
    rates, before = [], 0
    for line in lines:
        if line["split"] == "train":
            if line["seconds"]:
                rates.append((line["step"] - before) / line["seconds"])
            before = line["step"]
    return statistics.median(rates[1:] or rates) if rates else None
