"""One run, from Python."""

import os
from pathlib import Path
from typing import Any

from lra_bench.config import make_settings, overrides_of
from lra_bench.data.location import data_root
from lra_bench.data.need import need
from lra_bench.display.progress import Display
from lra_bench.records import record
from lra_bench.records.record import Record
from lra_bench.records.run_folder import RunFolder, usual_folder
from lra_bench.registry import ATTENTIONS, TASKS, make_task
from lra_bench.runtime import numerics
from lra_bench.runtime.stopping import StopRequest
from lra_bench.training.run import execute


def run(
    task: str | os.PathLike[str] = "listops",
    attention: str | os.PathLike[str] = "performer-softmax",
    *,
    preset: str = "mini",
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    resume: bool = True,
    quiet: bool = False,
    **overrides: Any,
) -> Record:
    """Train one attention on one task, test it, and return the record of the run.

    It is `lra-bench run`: the same settings give the same metrics, and the folder holds the same
    files. A run that has finished is not done again; its record is returned.

    Args:
        task, attention: registered names, or Python files of your own, such as "my.py" or
            "my.py:name".
        preset: of the task; see `lra-bench list presets`.
        seed: of all random numbers.
        out: the folder of the run; default: runs/TASK-ATTENTION-PRESET-seedN.
        data_dir: folder of all data; default: $LRA_BENCH_DATA, else ~/.cache/lra_bench.
        resume: whether to go on with a run that the folder holds; else that is an error.
        quiet: whether to print nothing.
        overrides: settings by name, such as `num_steps=100`, or options of the attention or the
            task. A name that is in several groups is written as `**{"model.dropout": 0.1}`.

    Returns:
        The record, whose `status` is "ok", "diverged", "out_of_memory" or "failed"; a result has
        `test.accuracy`, in [0, 1].

    Raises:
        UsageError: a name or a setting is wrong, the folder holds another run, or the data are
            missing.
        RunError: the data are broken, or the disk is full.
    """
    numerics.pin()
    task, attention = TASKS.named(os.fspath(task)), ATTENTIONS.named(os.fspath(attention))
    words = overrides_of(overrides, task, attention)
    settings = make_settings(task, attention, preset, seed, words)
    folder = RunFolder(
        Path(out).expanduser() if out else usual_folder(task, attention, preset, seed)
    )
    display = Display(quiet=quiet)
    if folder.check(settings, resume=resume) is None:
        display.line(f"{task} with {attention}, preset {preset}, seed {seed}")
        root = data_root(None if data_dir is None else Path(data_dir))
        data = need(make_task(settings.task, settings.data), settings, root, words)
        data.require_files()
        execute(
            settings,
            folder,
            root,
            display,
            StopRequest(),
            resume=resume,
            prepare_command=data.location.prepared_by,
        )
    return record.read(folder.path / record.FILE)
