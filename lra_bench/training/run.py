"""One run, from settings to its record."""

import contextlib
import dataclasses
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lra_bench.data.obtain import load_data
from lra_bench.data.store import Store
from lra_bench.display.progress import Display
from lra_bench.display.units import size_text
from lra_bench.errors import RunError, UsageError
from lra_bench.faults import is_disk_full, is_out_of_memory, one_line
from lra_bench.records import metrics, record
from lra_bench.records.metrics import Metrics
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import TASKS, Task
from lra_bench.runtime import memory
from lra_bench.runtime.devices import choose_devices
from lra_bench.runtime.launch import LOST, is_lost
from lra_bench.runtime.processes import Group
from lra_bench.runtime.stopping import Stopped, StopRequest
from lra_bench.settings import RunSettings
from lra_bench.training import init_from
from lra_bench.training.checkpoint import Checkpoints, of_a_failed_save
from lra_bench.training.learner import Arrays, State, count_parameters, make_learner
from lra_bench.training.loop import Diverged, Loop
from lra_bench.training.programs import Programs
from lra_bench.unraisable import unreported


def execute(
    settings: RunSettings,
    folder: RunFolder,
    data_root: Path,
    display: Display,
    stop: StopRequest,
    *,
    resume: bool,
    memory_limit: int | None = None,
) -> dict[str, Any]:
    """Do one run, or what is left of it, and write its record, however it ends.

    Args:
        stop: asked whether to stop. Each process of its group calls this, and gets the record.
        memory_limit: bytes that arrays may take, on CPU; elsewhere the allocator knows it.

    Raises:
        UsageError: the devices don't fit the settings, or the data aren't there.
        RunError: the data are broken, or the disk is full, or another process is lost.
        Stopped: on SIGINT or SIGTERM, with all saved that is needed to go on.
    """
    group = stop.group
    devices = group.together(lambda: choose_devices(settings.train))
    task = TASKS.get(settings.task).target(**settings.data)
    if settings.init_from is not None:
        group.on_first(lambda: folder.started or init_from.check(settings, task, display))
    store = group.together(lambda: load_data(task, settings.data_source, data_root, display))
    _check_same_data(store, group)
    with contextlib.ExitStack() as stack:
        group.on_first(lambda: stack.enter_context(_opened(folder, settings, resume=resume)))
        result = record.blank(settings)
        result["chance"] = store.splits["test"].chance()
        result["data"] = store.provenance()
        result["environment"] = record.environment(devices.all, settings.model.dtype)
        run = Run(settings, task, store, folder, display, group, result, memory_limit)
        try:
            programs = Programs(make_learner(task, settings), settings, store, devices)
            run.train_and_test(programs, stop, on_cpu=devices.all[0].platform == "cpu")
        except Exception as error:
            run.note_failure(error)
        return group.on_first(run.write)


@contextlib.contextmanager
def _opened(folder: RunFolder, settings: RunSettings, *, resume: bool) -> Iterator[None]:
    with folder.held(settings, resume=resume):
        folder.start(settings)
        yield


def _check_same_data(store: Store, group: Group) -> None:
    """See that every host has the data that process 0 has."""
    here = store.provenance()["sha256"]
    first = group.on_first(lambda: here)

    def compare() -> None:
        if here != first:
            raise RunError(f"process {group.index} has other data than process 0")

    group.together(compare)


def _saved(checkpoints: Checkpoints) -> tuple[int, int]:
    """The latest step, and up to where evaluations are saved too: they may be still to be done."""
    latest = checkpoints.latest()
    if latest is None:
        return 0, -1
    return latest, latest if checkpoints.evaluated(latest) else latest - 1


@dataclasses.dataclass
class Run:
    """A run in its folder, filling in its record."""

    settings: RunSettings
    task: Task
    store: Store
    folder: RunFolder
    display: Display
    group: Group
    result: dict[str, Any]
    memory_limit: int | None

    def train_and_test(self, programs: Programs, stop: StopRequest, *, on_cpu: bool) -> None:
        """Compile; train, then test what validation found best, within the limit of memory."""
        opened = closing(Checkpoints(self.folder.checkpoints, self.group))
        with unreported(of_a_failed_save), opened as checkpoints:
            self._tell_of_damage(checkpoints)
            self._compile(programs)
            with memory.limited(self.memory_limit if on_cpu else None):
                best = self._fit_and_test(programs, checkpoints, stop)
        if self.group.is_first:
            self._finish(best)

    def _compile(self, programs: Programs) -> None:
        self._count_parameters(programs.shapes.params)
        programs.compile()
        self.result["compile_seconds"] = programs.compile_seconds
        self.result["flops_per_step"] = programs.flops_per_step

    def _fit_and_test(self, programs: Programs, checkpoints: Checkpoints, stop: StopRequest) -> int:
        """The best step."""
        state = self._starting_from(programs.init(), programs, checkpoints)
        with self._metrics(*_saved(checkpoints)) as lines:
            loop = Loop(
                programs,
                self.store,
                self.settings.train,
                checkpoints,
                lines,
                self.display,
                stop,
                self.settings.init_from,
            )
            with stop.postponed():
                state = loop.fit(state)
            best = checkpoints.best()
            assert best is not None  # the last step is always evaluated
            if best > 0:  # else it was tested before any step
                loop.test(checkpoints.restore(best, like=state))
        return best

    def _tell_of_damage(self, checkpoints: Checkpoints) -> None:
        if checkpoints.put_aside:
            first, *later = checkpoints.put_aside
            also = f", with those of {', '.join(map(str, later))}" if later else ""
            none = "; none is before it, so the run starts again"
            self.display.line(
                f"the checkpoint of step {first} is damaged and was put aside{also}"
                f"{none if checkpoints.latest() is None else ''}"
            )

    def _starting_from(self, state: State, programs: Programs, checkpoints: Checkpoints) -> State:
        """The latest state, else that with another run's parameters, else the one given."""
        latest = checkpoints.latest()
        if latest is not None:
            state = checkpoints.restore(latest, like=state)
        elif self.settings.init_from is not None:
            state = programs.with_params(state, self._transferred(state.params))
        self._announce(latest)
        return state

    def _transferred(self, like: Arrays) -> dict[str, np.ndarray]:
        def load() -> list[np.ndarray]:
            return [np.asarray(x) for x in init_from.load(self.settings, like).values()]

        found = self.group.arrays_of_first(load, list(like.values()))
        return dict(zip(like, found, strict=True))

    @contextlib.contextmanager
    def _metrics(self, last_step: int, last_evaluated: int) -> Iterator[Metrics | None]:
        """metrics.jsonl, which process 0 alone has."""
        if not self.group.is_first:
            yield None
            return
        with closing(Metrics(self.folder.path, last_step, last_evaluated)) as lines:
            yield lines

    def _count_parameters(self, params: dict[str, Any]) -> None:
        """Count, and compare with softmax attention in the same model."""
        softmax = dataclasses.replace(self.settings, attention="softmax", attention_options={})
        count = sum(x.size for x in params.values())
        reference = count_parameters(self.task, softmax)
        self.result.update(parameters=count, parameters_vs_softmax=count / reference)

    def _announce(self, latest: int | None) -> None:
        result, seconds = self.result, self.result["compile_seconds"]
        compiled = "before" if seconds is None else f"in {seconds:.1f} s"
        self.display.line(
            f"{result['parameters']:,} parameters ({result['parameters_vs_softmax']:.2f} of "
            f"softmax's), compiled {compiled}, "
            f"{'starting' if latest is None else f'going on from step {latest}'}"
        )

    def _finish(self, best: int) -> None:
        lines = metrics.read(self.folder.path / metrics.FILE)
        rate = metrics.steps_per_second(lines)
        tokens = self.settings.train.batch_size * self.store.splits["train"].tokens[0].size
        validation = self._evaluation("validation", best)
        if validation is None:
            file = self.folder.path / metrics.FILE
            raise RunError(f"{file} has lost the line of step {best}; remove the folder")
        self.result.update(
            status="ok",
            best_step=best,
            validation=validation,
            test=self._evaluation("test", best),
            steps=self.settings.train.num_steps,
            steps_per_second=rate,
            tokens_per_second=rate and rate * tokens,
        )

    def write(self) -> dict[str, Any]:
        """Write the record."""
        self._note_origin()
        self.result["peak_memory_bytes"] = record.peak_memory(jax.local_devices()[0])
        record.write(self.folder.path, self.result)
        return self.result

    def _note_origin(self) -> None:
        """Put into the record how the parameters from elsewhere did before any step."""
        if self.result["init_from"] is not None:
            found = {split: self._evaluation(split, 0) for split in ("validation", "test")}
            self.result["init_from"].update(found)

    def _evaluation(self, split: str, step: int) -> dict[str, Any] | None:
        """What metrics.jsonl says of a split at a step."""
        for line in metrics.read(self.folder.path / metrics.FILE):
            if (line["split"], line["step"]) == (split, step):
                found = {key: line[key] for key in ("accuracy", "loss", "correct") if key in line}
                return {**found, "examples": len(self.store.splits[split])}
        return None

    def note_failure(self, error: Exception) -> None:
        """Put a failure into the record; raise instead where there can't be one.

        One that other processes don't know of is raised too, since there's no going on with them.
        """
        if isinstance(error, (Stopped, UsageError)):
            raise error
        if is_disk_full(error):
            raise RunError(
                f"no space left for {self.folder.path}: free some, then add --resume"
            ) from error
        known = isinstance(error, Diverged) or self.group.knows(error)
        if self.group.is_first:
            self._describe(error)
        if not known:
            if self.group.is_first:
                self.write()
            raise error

    def _describe(self, error: Exception) -> None:
        if isinstance(error, Diverged):
            self.result.update(status="diverged", error=str(error), steps=error.step)
        elif is_out_of_memory(error):
            limit = self.memory_limit and f" (--memory-limit {size_text(self.memory_limit)})"
            self.result.update(status="out_of_memory", error=f"{one_line(error)}{limit or ''}")
        elif isinstance(error, RunError):
            self.result.update(status="failed", error=str(error))
        elif is_lost(error):
            self.result.update(status="failed", error=LOST)
        else:
            trace = self.folder.path / "error.log"
            trace.write_text("".join(traceback.format_exception(error)))
            self.result.update(status="failed", error=f"{one_line(error)} (see {trace})")
