"""One run, from settings to its record."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.contracts import Task
from lra_bench.data.chance import chance_of
from lra_bench.data.location import locate
from lra_bench.data.obtain import load_data
from lra_bench.data.store import Store
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal
from lra_bench.display.progress import Display
from lra_bench.errors import RunError, UsageError, is_disk_full, unreported
from lra_bench.records import record
from lra_bench.records.departures import changes
from lra_bench.records.metrics import Metrics, Saved
from lra_bench.records.record import Record
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import REFERENCE, make_task
from lra_bench.runtime import memory, numerics, xla_flags
from lra_bench.runtime.compile_cache import mended
from lra_bench.runtime.devices import Devices, choose_devices, left_out
from lra_bench.runtime.environment import environment
from lra_bench.runtime.processes import Processes
from lra_bench.runtime.stopping import Stopped, StopRequest
from lra_bench.settings import RunSettings
from lra_bench.training import distil, init_from
from lra_bench.training.checkpoint import Checkpoints, is_of_failed_save
from lra_bench.training.evaluator import Diverged, Evaluator
from lra_bench.training.learner import Arrays, State, count_parameters, make_learner
from lra_bench.training.loop import Loop
from lra_bench.training.programs import Programs
from lra_bench.training.run_record import RunRecord
from lra_bench.training.tracking import tracking


def execute(
    settings: RunSettings,
    folder: RunFolder,
    data_root: Path,
    display: Display,
    stop: StopRequest,
    *,
    resume: bool,
    memory_limit: int | None = None,
    prepare_command: str = "",
    track: Sequence[str] = (),
) -> Record:
    """Do one run, or what is left of it, and write its record, however it ends.

    Each process of the run calls this, and gets the record.

    Args:
        settings: of the run.
        folder: where it is kept.
        data_root: where data are kept.
        display: where people see how far it is.
        stop: is asked whether to stop.
        resume: whether to go on with a run that the folder holds.
        memory_limit: bytes that arrays may take on CPU; elsewhere the allocator knows the limit.
        prepare_command: prepares the data from files, for messages.
        track: names of trackers that get the metrics too; see `tracking.TRACKERS`.

    Raises:
        UsageError: the devices do not fit the settings, or the data are not there.
        RunError: the data are broken, the disk is full, or another process is lost.
        Stopped: on SIGINT or SIGTERM, after saving all that is needed to go on.
    """
    processes = stop.processes
    devices = processes.together(lambda: choose_devices(settings.train))
    if note := left_out(settings.train, devices):
        display.line(note)
    task = make_task(settings.task, settings.data)
    distil.steps_of(settings)  # refuses those that cannot be done
    if settings.init_from is not None:
        processes.on_first(lambda: folder.started or init_from.check(settings, task, display))
    location = locate(data_root, task, settings.data_source, prepare_command)
    store = processes.together(lambda: load_data(task, location, display))
    _check_same_data(store, processes)
    numerics.pin()  # a plug-in may have changed what results depend on
    with _held(folder, settings, devices, processes, resume=resume):
        result = _begin(settings, task, folder, store, devices)
        _tell_details(result.record, store, display)
        run = Run(settings, task, store, folder, display, processes, result, memory_limit, track)
        try:
            with mended():
                with display.busy("making the model"):
                    programs = Programs(make_learner(task, settings), settings, store, devices)
                run.train_and_test(programs, stop, on_cpu=devices.all[0].platform == "cpu")
        except Exception as error:
            run.note_failure(error)
        return record.parse(processes.on_first(lambda: result.write().as_dict()))


def _begin(
    settings: RunSettings, task: Task, folder: RunFolder, store: Store, devices: Devices
) -> RunRecord:
    """Return the record of a run that begins now."""
    place = environment(devices.all, settings.model.dtype)
    begun = record.begin(settings, chance_of(task, store), store.provenance(), place)
    train = settings.train
    examples = {name: train.evaluated(len(split)) for name, split in store.splits.items()}
    return RunRecord(begun, folder.path, examples)


def _tell_details(begun: Record, store: Store, display: Display) -> None:
    """Print, with --verbose, what the run departs in from its preset, and where it takes place."""
    if not display.is_verbose:
        return
    changed = ", ".join(map(str, changes(begun.config))) or "those of the preset"
    display.detail(f"settings: {changed}")
    place = begun.environment
    if place is not None:
        versions = ", ".join(f"{name} {text}" for name, text in place.versions.items())
        display.detail(f"on {place.device}; {versions}; commit {place.git_commit}")
    display.detail(f"data: {store.provenance().sha256}, {store.manifest.origin}")


@contextlib.contextmanager
def _held(
    folder: RunFolder,
    settings: RunSettings,
    devices: Devices,
    processes: Processes,
    *,
    resume: bool,
) -> Iterator[None]:
    """Let process 0 hold the folder, and start the run in it, while the block runs."""
    platform = devices.all[0].platform
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(folder.held(settings, resume=resume))
            xla_flags.check(folder.path, platform)
            folder.start(settings)
            xla_flags.note(folder.path, platform)

        processes.on_first(hold)
        yield


def _check_same_data(store: Store, processes: Processes) -> None:
    """Check that every host has the data that process 0 has."""
    here = store.provenance().sha256
    first = processes.on_first(lambda: here)

    def compare() -> None:
        if here != first:
            raise RunError(f"process {processes.index} has other data than process 0")

    processes.together(compare)


def _saved(checkpoints: Checkpoints) -> Saved:
    """Return what the checkpoints tell of the metrics.

    The evaluation of the latest step is not saved if the run was stopped before one that was due.
    """
    latest = checkpoints.latest()
    if latest is None:
        return Saved(lines="")
    evaluated = latest if checkpoints.evaluated(latest) else latest - 1
    return Saved(latest, evaluated, checkpoints.lines(latest), checkpoints.accuracies())


@dataclasses.dataclass
class Run:
    """The stages of a run in its folder: compile, train, test.

    Attributes:
        settings: of the run.
        task: its task.
        store: its data.
        folder: where it is kept.
        display: where people see how far it is.
        processes: those that do it together.
        result: its record, which the stages fill in.
        memory_limit: bytes that arrays may take on CPU; None for any number.
        track: names of trackers that get the metrics too.
    """

    settings: RunSettings
    task: Task
    store: Store
    folder: RunFolder
    display: Display
    processes: Processes
    result: RunRecord
    memory_limit: int | None
    track: Sequence[str] = ()

    def train_and_test(self, programs: Programs, stop: StopRequest, *, on_cpu: bool) -> None:
        """Compile and train, then test the best checkpoint, within the limit of memory."""
        opened = closing(Checkpoints(self.folder.checkpoints, self.processes))
        with unreported(is_of_failed_save), opened as checkpoints:
            self._tell_of_damage(checkpoints)
            with self.display.busy("compiling the training step"):
                self._compile(programs)
            with memory.limited(self.memory_limit if on_cpu else None):
                best = self._fit_and_test(programs, checkpoints, stop)
        if self.processes.is_first:
            train = self.settings.train
            tokens = train.batch_size * self.store.splits["train"].tokens[0].size
            self.result.note_success(best, train.num_steps, tokens)

    def _compile(self, programs: Programs) -> None:
        self._count_parameters(programs.shapes.params)
        programs.compile()
        seconds, flops = programs.compile_seconds, programs.flops_per_step
        self.result.note(compile_seconds=seconds, flops_per_step=flops)

    def _fit_and_test(self, programs: Programs, checkpoints: Checkpoints, stop: StopRequest) -> int:
        """Train and test; return the best step."""
        state = self._starting_from(programs.init(), programs, checkpoints, stop)
        with self._metrics(_saved(checkpoints)) as lines:
            train = self.settings.train
            loop = Loop(
                programs=programs,
                settings=train,
                checkpoints=checkpoints,
                metrics=lines,
                display=self.display,
                stop=stop,
                evaluator=Evaluator(programs, self.store, train, stop),
                origin=self.settings.init_from,
            )
            with stop.postponed():
                state = loop.fit(state)
            best = checkpoints.best()
            assert best is not None  # the last step is always evaluated
            self._evaluate_best(loop, best, like=state)
        return best

    def _evaluate_best(self, loop: Loop, best: int, like: State) -> None:
        """Test the best state, and validate it again if the line of its validation is lost.

        Parameters of another run were tested before any step.
        """
        lacking = self.processes.on_first(lambda: self.result.lacking(best))
        if lacking:
            state = loop.checkpoints.restore(best, like=like)
            for split in lacking:
                loop.evaluate(state, split)

    def _tell_of_damage(self, checkpoints: Checkpoints) -> None:
        if checkpoints.put_aside:
            first, *later = checkpoints.put_aside
            also = f", with those of {', '.join(map(str, later))}" if later else ""
            none = "; none is before it, so the run starts again"
            self.display.line(
                f"the checkpoint of step {first} is damaged and was put aside{also}"
                f"{none if checkpoints.latest() is None else ''}"
            )

    def _starting_from(
        self, state: State, programs: Programs, checkpoints: Checkpoints, stop: StopRequest
    ) -> State:
        """Return the latest saved state, else the given one or another run's parameters.

        A mechanism that is to imitate softmax is trained to do so first.
        """
        latest = checkpoints.latest()
        if latest is not None:
            state = checkpoints.restore(latest, like=state)
        elif self.settings.init_from is not None:
            like = distil.taken(self.settings, state.params)
            state = programs.with_params(state, self._parameters_of_origin(like))
        self._announce(latest)
        if latest is None and (steps := distil.steps_of(self.settings)):
            learner = make_learner(self.task, self.settings)
            state = distil.distilled(state, steps, learner, programs, self.display, stop)
        return state

    def _parameters_of_origin(self, like: Arrays) -> dict[str, np.ndarray]:
        def load() -> list[np.ndarray]:
            return [np.asarray(x) for x in init_from.load(self.settings, like).values()]

        arrays = self.processes.arrays_of_first(load, list(like.values()))
        return dict(zip(like, arrays, strict=True))

    @contextlib.contextmanager
    def _metrics(self, saved: Saved) -> Iterator[Metrics | None]:
        """Open metrics.jsonl, in process 0 alone; say which of its lines were damaged."""
        if not self.processes.is_first:
            yield None
            return
        with closing(Metrics(self.folder.path, saved)) as lines:
            if lines.restored:
                say(f"lra-bench: {terminal(lines.restored)}", stream=sys.stderr)
            with tracking(self.track, self.folder.path, self.settings) as lines.follow:
                yield lines

    def _count_parameters(self, params: dict[str, Any]) -> None:
        """Count the parameters, and compare with softmax attention in the same model."""
        softmax = dataclasses.replace(self.settings, attention=REFERENCE, attention_options={})
        count = sum(x.size for x in params.values())
        reference = count_parameters(self.task, softmax)
        self.result.note(parameters=count, parameters_vs_softmax=count / reference)

    def _announce(self, latest: int | None) -> None:
        known = self.result.record
        seconds, ratio = known.compile_seconds, known.parameters_vs_softmax
        compiled = "before" if seconds is None else f"in {seconds:.1f} s"
        self.display.line(
            f"{known.parameters:,} parameters ({ratio:.2f} of softmax's), "
            f"compiled {compiled}, "
            f"{'starting' if latest is None else f'going on from step {latest}'}"
        )

    def note_failure(self, error: Exception) -> None:
        """Put a failure into the record, or raise it where there can be no record.

        A failure that other processes do not know of is raised too: the run cannot go on.
        """
        if isinstance(error, (Stopped, UsageError)):
            raise error
        if is_disk_full(error):
            raise RunError(
                f"no space left for {self.folder.path}: free some, then add --resume"
            ) from error
        known = isinstance(error, Diverged) or self.processes.knows(error)
        if self.processes.is_first:
            self.result.note_failure(error, self.memory_limit)
        if not known:
            if self.processes.is_first:
                self.result.write()
            raise error
