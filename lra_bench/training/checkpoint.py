"""Checkpoints of the training state: the latest, and the best by validation accuracy."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

from lra_bench.errors import RunError
from lra_bench.files import sha256, write_json
from lra_bench.runtime.devices import place
from lra_bench.runtime.processes import Processes
from lra_bench.training.learner import State

# A tie goes to the earlier step; far below one example in a million.
_PER_STEP = 1e-12
_NOT_EVALUATED = -1.0
CHECKSUMS = "checksums.json"
# Those to be deleted are moved here first: half of one would be taken for damaged.
_DELETED = ".deleted"
# Process 0 does all without the others, which need not share a file system with it.
FIRST_ONLY = ocp.options.MultiprocessingOptions(
    primary_host=0, active_processes={0}, barrier_sync_key_prefix="lra-bench"
)


def _selection(metrics: dict[str, float]) -> float:
    return metrics["selection"]


def is_of_failed_save(error: BaseException | None) -> bool:
    """Whether it is what TensorStore's threads say after a save has failed."""
    return str(error) == "Event loop is closed"


class Checkpoints:
    """The checkpoints of one run, written as a whole or not at all.

    The two latest are kept, and the best. A checkpoint that was written between evaluations
    (when a run is stopped) never counts as best. Each holds the checksums of its files; one that
    doesn't match them is put aside when the run is opened again, and so is every later one: it
    may have been the best, and going on from before it makes it again.

    With several processes all of them call every method and get the same answer; process 0 alone
    reads and writes. What it writes are host arrays: any number of devices can go on from them.

    Attributes:
        put_aside: the steps whose checkpoints were put aside, the first of them damaged.
    """

    def __init__(self, directory: Path, processes: Processes | None = None) -> None:
        # Orbax reports every step it takes, and prints the traceback of what it then raises; so
        # do its tasks, each for itself.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._processes = processes or Processes()
        self._manager: Any = None
        self.put_aside = self._processes.on_first(lambda: self._open(directory.resolve()))

    def _open(self, directory: Path) -> list[int]:
        aside = _put_damaged_aside(directory)
        directory.mkdir(exist_ok=True)
        for leftover in directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover, ignore_errors=True)
        _empty(directory)
        policies = [preserve.LatestN(2), preserve.BestN(n=1, get_metric_fn=_selection)]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preserve.AnyPreservationPolicy(policies),
            best_fn=_selection,
            todelete_subdir=_DELETED,
            create=False,
            enable_async_checkpointing=False,
            multiprocessing_options=FIRST_ONLY,
        )
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=FIRST_ONLY)
        self._manager = ocp.CheckpointManager(directory, options=options, item_handlers=handler)
        return aside

    def save(self, state: State, validation_accuracy: float | None = None) -> None:
        """Write the state; one of the same step without an evaluation is replaced."""
        self._processes.on_first(lambda: self._save(state, validation_accuracy))

    def _save(self, state: State, validation_accuracy: float | None) -> None:
        step = int(state.step)
        if step in self._manager.all_steps():
            self._manager.delete(step)
        selection = _NOT_EVALUATED
        if validation_accuracy is not None:
            selection = validation_accuracy - _PER_STEP * step
        arrays = ocp.args.StandardSave(jax.device_get(_by_name(state)))
        self._manager.save(step, args=arrays, metrics={"selection": selection})
        folder = Path(self._manager.directory) / str(step)
        write_json(folder / CHECKSUMS, _checksums(folder))
        _empty(folder.parent)

    def latest(self) -> int | None:
        """The newest checkpoint's step."""
        return self._processes.on_first(lambda: self._manager.latest_step())

    def best(self) -> int | None:
        """The step of the best evaluation; the earlier of equals."""
        return self._processes.on_first(self._best)

    def _best(self) -> int | None:
        step = self._manager.best_step()
        return step if step is not None and self._evaluated(step) else None

    def evaluated(self, step: int) -> bool:
        """Whether the checkpoint was written with an evaluation."""
        return self._processes.on_first(lambda: self._evaluated(step))

    def _evaluated(self, step: int) -> bool:
        metrics = self._manager.metrics(step)
        return metrics is not None and _selection(metrics) > _NOT_EVALUATED

    def restore(self, step: int, like: State) -> State:
        """The state of that step; `like` gives structure, shapes, dtypes and devices.

        Raises:
            RunError: the checkpoint is of another model.
        """
        leaves, structure = jax.tree.flatten(like)
        found = self._processes.arrays_of_first(lambda: self._restore(step, like), leaves)
        pairs = zip(found, leaves, strict=True)
        return jax.tree.unflatten(structure, [place(x, old.sharding) for x, old in pairs])

    def _restore(self, step: int, like: State) -> list[np.ndarray]:
        wanted = {name: np.zeros(x.shape, x.dtype) for name, x in _by_name(like).items()}
        metadata = self._manager.item_metadata(step)
        if metadata is None:
            place = self._manager.directory / str(step)
            raise RunError(f"checkpoint {place} can't be read by this version of orbax")
        self._compare(step, wanted, dict(metadata.items()))
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return [restored[name] for name in wanted]

    def close(self) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            self._manager.close()

    def _compare(self, step: int, wanted: dict[str, Any], found: dict[str, Any]) -> None:
        for name in sorted(wanted.keys() | found.keys()):
            shapes = [tuple(x[name].shape) if name in x else "none" for x in (found, wanted)]
            if shapes[0] != shapes[1]:
                raise RunError(
                    f"checkpoint {self._manager.directory / str(step)} is of another model: "
                    f"{name} is {shapes[0]} there, {shapes[1]} here"
                )


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a checkpoint, by its path in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): sha256(p) for p in files if p.name != CHECKSUMS}


def _put_damaged_aside(directory: Path) -> list[int]:
    """Rename the first checkpoint that isn't as it was written, and all later; their steps.

    The last comes first: whenever this is cut short, what is left to be done is seen again.
    """
    steps = sorted(int(p.name) for p in directory.glob("*") if p.name.isdigit())
    damaged = [step for step in steps if not is_whole(directory / str(step))]
    aside = [step for step in steps if damaged and step >= damaged[0]]
    for step in reversed(aside):
        place = directory / f"aside-{step}"
        shutil.rmtree(place, ignore_errors=True)
        (directory / str(step)).rename(place)
    return aside


def _empty(directory: Path) -> None:
    shutil.rmtree(directory / _DELETED, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether a checkpoint's files are as they were written."""
    try:
        return json.loads((folder / CHECKSUMS).read_text()) == _checksums(folder)
    except (OSError, ValueError):  # killed before the checksums were written
        return False


def _by_name(state: State) -> dict[str, Any]:
    leaves, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
