"""Reading a run's folder from outside: its settings and its weights. Nothing in it is changed."""

import logging
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array

from lra_bench.contracts import Task
from lra_bench.errors import RunError, UsageError
from lra_bench.files import read_json, sha256
from lra_bench.model import Classifier
from lra_bench.records.run_folder import CONFIG, RunFolder
from lra_bench.registry import make_task
from lra_bench.settings import RunSettings, from_dict
from lra_bench.training.checkpoint import CHECKSUMS, FIRST_ONLY, is_whole
from lra_bench.training.learner import make_learner

Arrays = dict[str, Array]

_PARAMS, _SAMPLED = "params/", "sampled/"


def load_model(folder: Path) -> tuple[RunSettings, Task, Classifier]:
    """The settings, the task and the model of a run, at its best checkpoint.

    Raises:
        UsageError: `folder` holds no run, or nothing is saved in it yet.
        RunError: what it holds is damaged, or of another version.
    """
    settings, params, sampled, step = load_state(folder)
    task = make_task(settings.task, settings.data)
    learner = make_learner(task, settings)
    try:
        return settings, task, learner.merge(params, sampled)
    except KeyError as error:
        raise RunError(f"checkpoint {step} of {folder} lacks {error}: another version's") from None


def load_state(folder: Path) -> tuple[RunSettings, Arrays, Arrays, int]:
    """The settings, parameters, sampled state and step of the checkpoint that `locate` finds.

    Raises:
        UsageError: `folder` holds no run, or nothing is saved in it yet.
        RunError: what it holds is damaged.
    """
    run, place = locate(folder)
    settings = load_settings(run)
    _verify(place)
    params, sampled = _read(place.resolve() / "default")  # orbax finds nothing at relative paths
    return settings, params, sampled, int(place.name)


def locate(folder: Path) -> tuple[Path, Path]:
    """A run's folder and that of its best checkpoint, or of the one that `folder` itself is.

    Of a run that has not been evaluated yet, the latest is taken.

    Raises:
        UsageError: `folder` holds no run, or nothing is saved in it yet.
        RunError: what it holds is damaged.
    """
    if not folder.is_dir():
        problem = "it is a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder} holds no run: {problem}")
    place = folder.absolute()
    if place == RunFolder(place.parent.parent).checkpoints / place.name and place.name.isdigit():
        return place.parent.parent, place
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} holds no run: there is no {CONFIG}")
    checkpoints = RunFolder(folder).checkpoints
    return folder, checkpoints / str(_choose(checkpoints, folder))


def fingerprint(place: Path) -> str:
    """What tells a checkpoint from all others: the SHA-256 of the list of its checksums.

    Raises:
        RunError: the list is missing.
    """
    try:
        return sha256(place / CHECKSUMS)
    except OSError:
        raise _damaged(place) from None


def load_settings(folder: Path) -> RunSettings:
    """The settings in a run's folder.

    Raises:
        UsageError: `folder` holds no run.
        RunError: they can't be read.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UsageError(f"{folder} holds no run: there is no {CONFIG}")
    try:
        return from_dict(read_json(file))
    except (OSError, ValueError, KeyError, AttributeError):
        raise RunError(f"{file} can't be read as the config of a run") from None
    except TypeError as error:
        raise RunError(f"{file} is of another version of lra-bench: {error}") from None


def _choose(checkpoints: Path, folder: Path) -> int:
    """The step that validates best, else the latest; those still being written don't count."""
    whole = [x for x in checkpoints.glob("*") if x.name.isdigit() and (x / CHECKSUMS).exists()]
    if not whole:
        raise UsageError(f"{folder} holds no checkpoint yet")
    return max((_selection(place), int(place.name)) for place in whole)[1]


def _selection(place: Path) -> float:
    """What the checkpoint was selected by; below 0 if it was written between evaluations."""
    try:
        return float(read_json(place / "metrics" / "metrics")["selection"])
    except (OSError, ValueError, TypeError, KeyError):
        raise _damaged(place) from None


def _verify(place: Path) -> None:
    if not is_whole(place):
        raise _damaged(place)


def _damaged(place: Path) -> RunError:
    return RunError(f"checkpoint {place} is damaged; lra-bench run --resume makes it again")


def _read(place: Path) -> tuple[Arrays, Arrays]:
    """Parameters and sampled state as host arrays, whatever devices the run was made on."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax reports every step it takes
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=FIRST_ONLY)
    with ocp.Checkpointer(handler, multiprocessing_options=FIRST_ONLY) as checkpointer:
        tree = checkpointer.metadata(place).item_metadata.tree
        wanted = {name: tree[name] for name in tree if name.startswith((_PARAMS, _SAMPLED))}
        as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in wanted}
        found = checkpointer.restore(
            place,
            args=ocp.args.PyTreeRestore(item=wanted, restore_args=as_numpy, partial_restore=True),
        )
    return _part(found, _PARAMS), _part(found, _SAMPLED)


def _part(found: Arrays, prefix: str) -> Arrays:
    return {name[len(prefix) :]: x for name, x in found.items() if name.startswith(prefix)}
