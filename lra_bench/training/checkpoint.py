"""Checkpoints of the training state: the two latest, and the best by validation accuracy."""

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preserve

from lra_bench.errors import RunError
from lra_bench.files.atomic import remove_leftovers, write_atomically
from lra_bench.files.regular import read_text
from lra_bench.runtime.devices import place
from lra_bench.runtime.processes import Processes
from lra_bench.training.checkpoint_format import (
    FIRST_ONLY,
    LINES,
    NOT_EVALUATED,
    array_differences,
    by_name,
    is_whole,
    selection,
    steps,
    validation_accuracy,
    write_checksums,
)
from lra_bench.training.learner import State

# Checkpoints are moved here before they are deleted: half of one would count as damaged.
_DELETED = ".deleted"


def _selection(metrics: dict[str, float]) -> float:
    return metrics["selection"]


def is_of_failed_save(error: BaseException | None) -> bool:
    """Return whether TensorStore's threads report this error after a save has failed."""
    return str(error) == "Event loop is closed"


class Checkpoints:
    """The checkpoints of one run, each written as a whole or not at all.

    The two latest are kept, and the best. A checkpoint that was written between evaluations, when
    a run is stopped, never counts as best. If a checkpoint does not match its checksums when the
    run is opened again, it is put aside with every later one: it may have been the best, and a
    run that goes on from before it makes it again.

    With several processes all of them call every method and get the same answer; process 0 alone
    reads and writes. It writes host arrays: any number of devices can go on from them.

    Attributes:
        put_aside: the steps whose checkpoints were put aside; the first of them was damaged.
    """

    def __init__(self, directory: Path, processes: Processes | None = None) -> None:
        # Orbax and its tasks log every step that they take, and the traceback of what they raise.
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
        _remove_deleted(directory)
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

    def save(
        self,
        state: State,
        accuracy: float | None = None,
        lines: str = "",
        *,
        early: bool = False,
    ) -> None:
        """Write the state; a checkpoint of the same step without an evaluation is replaced.

        Args:
            state: to write.
            accuracy: on the validation split, in [0, 1]; None between evaluations.
            lines: the text of the run's metrics so far.
            early: whether any later evaluation is better, whatever its accuracy.
        """
        selected = selection(int(state.step), accuracy, early=early)
        self._processes.on_first(lambda: self._save(state, selected, lines))

    def _save(self, state: State, selected: float, lines: str) -> None:
        step = int(state.step)
        if step in self._manager.all_steps():
            self._manager.delete(step)
        arrays = ocp.args.StandardSave(jax.device_get(by_name(state)))
        metrics = {"selection": selected}
        self._manager.save(step, args=arrays, metrics=metrics)
        folder = self._folder(step)
        write_atomically(folder / LINES, lines)
        write_checksums(folder)
        _remove_deleted(folder.parent)

    def _folder(self, step: int) -> Path:
        return Path(self._manager.directory) / str(step)

    def latest(self) -> int | None:
        """Return the step of the newest checkpoint."""
        return self._processes.on_first(lambda: self._manager.latest_step())

    def best(self) -> int | None:
        """Return the step of the best evaluation; of equal ones the earlier."""
        return self._processes.on_first(self._best)

    def _best(self) -> int | None:
        step = self._manager.best_step()
        return step if step is not None and self._evaluated(step) else None

    def evaluated(self, step: int) -> bool:
        """Return whether the checkpoint was written with an evaluation."""
        return self._processes.on_first(lambda: self._evaluated(step))

    def _evaluated(self, step: int) -> bool:
        metrics = self._manager.metrics(step)
        return metrics is not None and _selection(metrics) > NOT_EVALUATED

    def lines(self, step: int) -> str | None:
        """Return the text of the metrics that a checkpoint holds; None in old checkpoints."""
        return self._processes.on_first(lambda: self._lines(step))

    def _lines(self, step: int) -> str | None:
        path = self._folder(step) / LINES
        return read_text(path) if path.exists() else None

    def accuracies(self) -> dict[int, float]:
        """Return the validation accuracies of the checkpoints, in [0, 1], by step."""
        return self._processes.on_first(self._accuracies)

    def _accuracies(self) -> dict[int, float]:
        metrics = {step: self._manager.metrics(step) for step in self._manager.all_steps()}
        known = {step: _selection(values) for step, values in metrics.items() if values is not None}
        accuracies = {step: validation_accuracy(step, value) for step, value in known.items()}
        return {step: value for step, value in accuracies.items() if value is not None}

    def restore(self, step: int, like: State) -> State:
        """Return the state of that step.

        Args:
            step: of the checkpoint.
            like: a state that gives structure, shapes, types and devices.

        Raises:
            RunError: the checkpoint is of another model.
        """
        leaves, structure = jax.tree.flatten(like)
        arrays = self._processes.arrays_of_first(lambda: self._restore(step, like), leaves)
        pairs = zip(arrays, leaves, strict=True)
        return jax.tree.unflatten(structure, [place(x, old.sharding) for x, old in pairs])

    def _restore(self, step: int, like: State) -> list[np.ndarray]:
        wanted = {name: np.zeros(x.shape, x.dtype) for name, x in by_name(like).items()}
        metadata = self._manager.item_metadata(step)
        if metadata is None:
            folder = self._folder(step)
            raise RunError(f"checkpoint {folder} can't be read by this version of orbax")
        difference = next(array_differences(dict(metadata.items()), wanted), None)
        if difference is not None:
            raise RunError(f"checkpoint {self._folder(step)} is of another model: {difference}")
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return [restored[name] for name in wanted]

    def close(self) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            self._manager.close()


def _put_damaged_aside(directory: Path) -> list[int]:
    """Rename the first damaged checkpoint and all later ones; return their steps.

    The last is renamed first: if this is cut short, the damaged one is still found.
    """
    present = steps(directory)
    damaged = [step for step in present if not is_whole(directory / str(step))]
    aside = [step for step in present if damaged and step >= damaged[0]]
    for step in reversed(aside):
        target = directory / f"aside-{step}"
        shutil.rmtree(target, ignore_errors=True)
        (directory / str(step)).rename(target)
    for folder in directory.glob("aside-*"):
        remove_leftovers(folder)
    return aside


def _remove_deleted(directory: Path) -> None:
    shutil.rmtree(directory / _DELETED, ignore_errors=True)
