"""Records as a table for pandas."""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench.records.find import collect
from lra_bench.records.labels import label
from lra_bench.records.record import Record, Score

_WHOLE = ("seed", "best_step", "steps", "examples")


def records(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the records of runs below some folders, a row for each run.

    A record that cannot be read is named on standard error and left out. The columns are

    - `task`, `attention` (its name), `label` (with the options that differ from the preset),
      `preset`, `seed`, `status` and `error`;
    - `accuracy` and `loss` on the test split, in [0, 1] and in nats, `examples` (their number),
      `validation_accuracy`, `best_step`, `chance` (of a guess) and, where there are held-out
      examples, `held_out_accuracy`;
    - `parameters`, `parameters_vs_softmax`, `steps`, `steps_per_second`, `tokens_per_second`,
      `flops_per_step`, `peak_memory_bytes` and `compile_seconds`;
    - `device`, `official` (whether the data are the published ones) and `path`, of the file.

    Args:
        folders: searched with all folders below them; the working folder's runs if there are none.

    Raises:
        UsageError: a folder is missing, or there is no record.
    """
    paths = [Path(folder).expanduser() for folder in folders] or [Path("runs")]
    table = pd.DataFrame([_row(run) for run in collect(paths)])
    return table.astype(dict.fromkeys(_WHOLE, "Int64"))


def _row(run: Record) -> dict[str, Any]:
    """Return the columns of a record."""
    return {
        "task": run.task,
        "attention": run.attention,
        "label": label(run),
        "preset": run.preset,
        "seed": run.seed,
        "status": run.status,
        "error": run.error,
        "accuracy": _accuracy(run.test),
        "loss": run.test and run.test.loss,
        "examples": run.test and run.test.examples,
        "validation_accuracy": _accuracy(run.validation),
        "held_out_accuracy": _accuracy(run.held_out),
        "best_step": run.best_step,
        "chance": run.chance,
        "parameters": run.parameters,
        "parameters_vs_softmax": run.parameters_vs_softmax,
        "steps": run.steps,
        "steps_per_second": run.steps_per_second,
        "tokens_per_second": run.tokens_per_second,
        "flops_per_step": run.flops_per_step,
        "peak_memory_bytes": run.peak_memory_bytes,
        "compile_seconds": run.compile_seconds,
        "device": run.device,
        "official": run.is_official,
        "path": str(run.path),
    }


def _accuracy(score: Score | None) -> float | None:
    return score and score.accuracy
