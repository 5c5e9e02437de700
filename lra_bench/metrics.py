"""metrics.jsonl: one line a log or evaluation."""

import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra_bench.files import write_atomically

FILE = "metrics.jsonl"


class Metrics:
    """Appends lines, each flushed, to the metrics of one run.

    A line has `step`, `split` (train, validation or test), `loss`, `accuracy` and `seconds`:
    how long its steps or its evaluation took, waiting for data left out; null where the run was
    stopped between, so that not all of it was timed.
    """

    def __init__(self, folder: Path, last_step: int) -> None:
        """Open for appending; what was written after `last_step` will be written again.

        So will the test, but for that of parameters from elsewhere before any step.
        """
        path = folder / FILE
        kept = [
            line
            for line in read(path)
            if line["step"] <= last_step and (line["split"] != "test" or line["step"] == 0)
        ]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(path, text)
        self._file = path.open("a")

    def write(
        self, step: int, split: str, loss: float, accuracy: float, seconds: float | None
    ) -> None:
        """Append one line."""
        line = {
            "step": step,
            "split": split,
            "loss": loss,
            "accuracy": accuracy,
            "seconds": None if seconds is None else round(seconds, 6),
        }
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was cut off is left out."""
    return list(_whole_lines(path)) if path.exists() else []


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def steps_per_second(lines: list[dict[str, Any]]) -> float | None:
    """The median over the training lines of steps / seconds, the first left out as warm-up."""
    rates, before = [], 0
    for line in lines:
        if line["split"] == "train":
            if line["seconds"]:
                rates.append((line["step"] - before) / line["seconds"])
            before = line["step"]
    return statistics.median(rates[1:] or rates) if rates else None
