"""The record of a run while it goes on: filled in by stages, written at the end."""

import dataclasses
import traceback
from functools import cached_property
from pathlib import Path
from typing import Any

import jax

from lra_bench.contracts import HELD_OUT
from lra_bench.display.units import size_text
from lra_bench.errors import RunError, is_out_of_memory, one_line
from lra_bench.records import metrics, record
from lra_bench.records.metrics import MetricsLine
from lra_bench.records.record import Record, Score, Start
from lra_bench.runtime import gpu_share, memory
from lra_bench.runtime.launch import LOST, is_lost
from lra_bench.runtime.source_files import place
from lra_bench.training.evaluator import Diverged


class RunRecord:
    """The record of a run, and the folder that it is written to.

    Attributes:
        record: what is known so far.
        folder: of the run.
        examples: examples of each split.
    """

    def __init__(self, begun: Record, folder: Path, examples: dict[str, int]) -> None:
        self.record, self.folder, self.examples = begun, folder, examples

    def note(self, **parts: Any) -> None:
        """Fill in parts of the record."""
        self.record = dataclasses.replace(self.record, **parts)

    @cached_property
    def _lines(self) -> list[MetricsLine]:
        """Read the metrics, once the last line is written."""
        return metrics.read(self.folder / metrics.FILE)

    def lacking(self, step: int) -> list[str]:
        """Return which evaluations the metrics, still being written, lack at a step."""
        lines = metrics.read(self.folder / metrics.FILE)
        splits = [split for split in self.examples if split != "train"]
        return [split for split in splits if metrics.find(lines, split, step) is None]

    def _score(self, split: str, step: int) -> Score | None:
        """Return the score of a split at a step, by the metrics."""
        line = metrics.find(self._lines, split, step)
        return line and line.score(self.examples[split])

    def note_success(self, best: int, steps: int, tokens_per_step: int) -> None:
        """Fill in the results of a run that reached its last step.

        Args:
            best: the step that validated best.
            steps: updates.
            tokens_per_step: padding included.

        Raises:
            RunError: the metrics have lost the validation of the best step.
        """
        log_every = self.record.config["train"]["log_every"]
        rate = metrics.steps_per_second(self._lines, log_every)
        validation = self._score("validation", best)
        if validation is None:
            file = self.folder / metrics.FILE
            raise RunError(f"{file} has lost the line of step {best}; remove the folder")
        self.note(
            status="ok",
            best_step=best,
            validation=validation,
            test=self._score("test", best),
            held_out=self._score(HELD_OUT, best) if HELD_OUT in self.examples else None,
            steps=steps,
            steps_per_second=rate,
            tokens_per_second=rate and rate * tokens_per_step,
        )

    def note_failure(self, error: Exception, memory_limit: int | None) -> None:
        """Fill in how a run failed; the traceback of an unexpected error is kept in error.log.

        Args:
            error: that ended the run.
            memory_limit: bytes that arrays could take; None for any number.
        """
        if isinstance(error, Diverged):
            self.note(status="diverged", error=str(error), steps=error.step)
        elif is_out_of_memory(error):
            text = f"{one_line(error)}{_allowed(memory_limit)}"
            self.note(status="out_of_memory", error=text)
        elif isinstance(error, RunError):
            self.note(status="failed", error=str(error))
        elif is_lost(error):
            self.note(status="failed", error=LOST)
        else:
            trace = self.folder / "error.log"
            trace.write_text("".join(traceback.format_exception(error)))
            text = f"{place(error)}{one_line(error)}"
            self.note(status="failed", error=f"{text} (see {trace})")

    def write(self) -> Record:
        """Write the record, and return it."""
        peak = memory.peak_of(jax.local_devices()[0])
        self.note(init_from=self._start(), peak_memory_bytes=peak)
        record.write(self.folder, self.record)
        return self.record

    def _start(self) -> Start | None:
        """Return the checkpoint of another run, with its scores here before any step."""
        start = self.record.init_from
        if start is None:
            return None
        scores = {split: self._score(split, 0) for split in ("validation", "test")}
        return dataclasses.replace(start, **scores)


def _allowed(memory_limit: int | None) -> str:
    """Return in brackets how much memory a run was allowed; "" if all that JAX takes by default."""
    if memory_limit is not None:
        return f" (--memory-limit {size_text(memory_limit)})"
    if jax.default_backend() == "gpu" and gpu_share.is_set():
        return f" (of {gpu_share.get():.0%} of the GPU's memory)"
    return ""
