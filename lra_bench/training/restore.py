"""Read a run's folder from outside: its settings and its weights. Nothing in it is changed."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from lra_bench.config import validate
from lra_bench.contracts import Task
from lra_bench.display.escape import terminal
from lra_bench.errors import RunError, UsageError
from lra_bench.files.json_files import read_json
from lra_bench.model.build import Model
from lra_bench.records.run_folder import CONFIG, COPIES, RunFolder
from lra_bench.registry import ATTENTIONS, TASKS, Registry, make_task
from lra_bench.runtime import numerics
from lra_bench.runtime.source_files import read
from lra_bench.settings import CODE_FILES, CodeFile, RunSettings, from_dict
from lra_bench.training.checkpoint_format import (
    ARRAYS,
    CHECKSUMS,
    FIRST_ONLY,
    PARAMS,
    SAMPLED,
    damaged,
    is_step,
    is_whole,
    part,
    read_selection,
    steps,
)
from lra_bench.training.learner import Arrays, make_learner


def load_model(folder: Path) -> tuple[RunSettings, Task, Model]:
    """Return the settings, the task and the model of a run, at its best checkpoint.

    Raises:
        UsageError: `folder` holds no run, or nothing is saved in it yet.
        RunError: its contents are damaged, or of another version.
    """
    settings, params, sampled, step = load_state(folder)
    load_code(locate(folder)[0], settings)
    numerics.pin()  # a plug-in may have changed what results depend on
    task = make_task(settings.task, settings.data)
    learner = make_learner(task, settings)
    try:
        return settings, task, learner.merge(params, sampled)
    except KeyError as error:
        raise RunError(f"checkpoint {step} of {folder} lacks {error}: another version's") from None


def load_state(folder: Path) -> tuple[RunSettings, Arrays, Arrays, int]:
    """Return the settings, parameters, sampled arrays and step of a run's checkpoint.

    It is the checkpoint that `locate` finds. Arrays are host arrays, by name.

    Raises:
        UsageError: `folder` holds no run, or nothing is saved in it yet.
        RunError: its contents are damaged.
    """
    run, checkpoint = locate(folder)
    settings = load_settings(run)
    if not is_whole(checkpoint):
        raise damaged(checkpoint)
    params, sampled = _read(checkpoint.resolve() / ARRAYS)  # orbax finds nothing by relative paths
    return settings, params, sampled, int(checkpoint.name)


def locate(folder: Path) -> tuple[Path, Path]:
    """Return the folders of a run and of its best checkpoint.

    If `folder` itself is a checkpoint, that one is returned. If a run has not been evaluated yet,
    its latest checkpoint is returned.

    Raises:
        UsageError: `folder` holds no run, or nothing is saved in it yet.
        RunError: its contents are damaged.
    """
    if not folder.is_dir():
        problem = "it is a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder} holds no run: {problem}")
    path = folder.absolute()
    if path == RunFolder(path.parent.parent).checkpoints / path.name and is_step(path.name):
        return path.parent.parent, path
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} holds no run: there is no {CONFIG}")
    checkpoints = RunFolder(folder).checkpoints
    return folder, checkpoints / str(_choose(checkpoints, folder))


def load_settings(folder: Path) -> RunSettings:
    """Return the settings in a run's folder.

    Those of a run with files of the user are checked when its code is loaded, by `load_code`.

    Raises:
        UsageError: `folder` holds no run.
        RunError: the settings cannot be read, or one of them is not valid here.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UsageError(f"{folder} holds no run: there is no {CONFIG}")
    try:
        settings = from_dict(read_json(file))
        if not any(getattr(settings, key) for key in CODE_FILES):
            validate(settings)
    except (OSError, ValueError, UsageError) as error:
        raise _not_valid(file, error) from None
    return settings


def load_code(folder: Path, settings: RunSettings) -> None:
    """Load the run's own copies of the files of the user that define it, if there are any.

    Raises:
        RunError: a copy is missing, is not what it was, or does not fit the settings.
    """
    registered: dict[str, tuple[Registry[Any], str]] = {
        "attention_file": (ATTENTIONS, settings.attention),
        "task_file": (TASKS, settings.task),
    }
    for key, (registry, name) in registered.items():
        if (code := getattr(settings, key)) is not None:
            _load_copy(folder / COPIES[key], code, registry, name)
    try:
        validate(settings)
    except UsageError as error:
        raise _not_valid(folder / CONFIG, error) from None


def _load_copy(copy: Path, code: CodeFile, registry: Registry[Any], name: str) -> None:
    """Load a run's own copy of a file, which registers `name`.

    Raises:
        RunError: it is missing, is not what it was, or is broken.
    """
    try:
        file = read(str(copy))
        if file.sha256 != code.sha256:
            raise RunError(f"{copy} is not the {code.name} that the run was made with")
        if name not in registry.load(file):
            raise RunError(f"{copy} registers no {registry.kind} {name}")
    except UsageError as error:
        raise RunError(str(error)) from None


def _not_valid(file: Path, error: Exception) -> RunError:
    return RunError(f"{file} can't be read as the config of a run: {terminal(error)}")


def _choose(checkpoints: Path, folder: Path) -> int:
    """Return the step that validates best, else the latest; unfinished ones do not count."""
    complete = [
        step for step in steps(checkpoints) if (checkpoints / f"{step}/{CHECKSUMS}").exists()
    ]
    if not complete:
        raise UsageError(f"{folder} holds no checkpoint yet")
    return max((read_selection(checkpoints / str(step)), step) for step in complete)[1]


def _read(folder: Path) -> tuple[Arrays, Arrays]:
    """Return parameters and sampled arrays on the host, whatever devices the run was made on."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs every step it takes
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=FIRST_ONLY)
    with ocp.Checkpointer(handler, multiprocessing_options=FIRST_ONLY) as checkpointer:
        tree = checkpointer.metadata(folder).item_metadata.tree
        wanted = {name: tree[name] for name in tree if name.startswith((PARAMS, SAMPLED))}
        as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in wanted}
        arrays = checkpointer.restore(
            folder,
            args=ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True),
        )
    return part(arrays, PARAMS), part(arrays, SAMPLED)
