"""Estimates of the time and memory of a run, made before it begins.

They come from runs of the same kind that have ended, else from a short calibration: a few training
steps in a separate process.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from lra_bench.display.progress import Display
from lra_bench.efficiency import records, supervise
from lra_bench.efficiency.cells import HERE, Cell
from lra_bench.efficiency.measurement import Measurement
from lra_bench.files.json_lines import append_line
from lra_bench.registry import make_task
from lra_bench.settings import RunSettings
from lra_bench.sweep.history import Attempts
from lra_bench.sweep.plan import Job
from lra_bench.sweep.run_state import RunState

FILE = "calibration.jsonl"
# Seconds of timing for each kind, and seconds after which its process is killed.
_BUDGET_SECONDS, _TIME_LIMIT = 1.0, 600.0
# Time to start Python and JAX and to open the data; memory of a process beside its arrays.
_START_SECONDS, _BASE_BYTES = 8.0, 700 * 2**20
# Evaluation has no backward pass, so an example costs about a third of its training step.
_FORWARD_SHARE = 1 / 3


@dataclass(frozen=True)
class Estimate:
    """The expected cost of one run.

    Attributes:
        seconds: duration, in seconds; None if it is not known.
        memory: peak memory, in bytes; None if it is not known.
    """

    seconds: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Resources:
    """The resources that one run has on this machine.

    Attributes:
        cores: numbers of the CPU cores that it may use; empty for all.
        devices: number of JAX devices that it uses.
    """

    cores: Sequence[int]
    devices: int


def from_ended_runs(
    jobs: Iterable[Job], states: Mapping[str, RunState], attempts: Mapping[str, Attempts]
) -> dict[str, Estimate]:
    """Return an estimate for each kind of run that has ended at least once.

    Only runs that one attempt did from start to end count: their mean time, their largest memory.

    Args:
        jobs: all runs of the sweep.
        states: state of each run, by its name.
        attempts: attempts at each run, by its name.
    """
    seconds: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for job in jobs:
        duration = attempts[job.name].seconds if job.name in attempts else None
        if duration is None:
            continue
        seconds.setdefault(job.kind, []).append(duration)
        record = states[job.name].record
        if record and record.peak_memory_bytes:
            memory.setdefault(job.kind, []).append(record.peak_memory_bytes)
    return {
        kind: Estimate(fmean(durations), max(memory.get(kind, ()), default=None))
        for kind, durations in seconds.items()
    }


def calibrate(
    jobs: Sequence[Job],
    sizes: Mapping[str, Mapping[str, int]],
    resources: Resources,
    folder: Path,
    display: Display,
    *,
    measure: bool,
    keep: bool,
) -> dict[str, Estimate]:
    """Return estimates of kinds of runs, from some timed training steps.

    Args:
        jobs: one run of each kind.
        sizes: number of examples in each split, by the kind of run; {} if unknown.
        resources: what each run will have.
        folder: the sweep's folder, which may hold earlier measurements; these are not repeated.
        display: where progress is shown.
        measure: whether to time steps that no earlier measurement is of.
        keep: whether to write measurements to the sweep's folder.
    """
    path, estimates = folder / FILE, {}
    lines = records.read(path) if path.exists() else []
    earlier = {_key(line.cell): line for line in lines}
    with display.bar("calibrating", len(jobs)) as bar, _only_on(resources.cores):
        for number, job in enumerate(jobs):
            bar(number, job.kind)
            settings = job.settings()
            cell = _training_step(settings, resources.devices)
            line = earlier.get(_key(cell))
            if line is None and measure:
                line = _measure(cell, path if keep else None)
            if line is not None and sizes[job.kind]:
                estimates[job.kind] = _extrapolate(settings, sizes[job.kind], line)
    return estimates


def of_run(settings: RunSettings, sizes: Mapping[str, int], devices: int) -> Estimate:
    """Return the estimate of a run, from some training steps that are timed now.

    Args:
        settings: of the run.
        sizes: number of examples in each split.
        devices: number of JAX devices that it uses.
    """
    return _extrapolate(settings, sizes, _measure(_training_step(settings, devices), None))


def _measure(cell: Cell, path: Path | None) -> Measurement:
    """Measure a training step and append the result to a file, if one is given."""
    measurement = supervise.measure(cell, _BUDGET_SECONDS, _TIME_LIMIT, xla_flags="")
    if path is not None:
        append_line(path, measurement.as_dict())
    return measurement


def _key(cell: Cell) -> str:
    """Return what identifies a measurement: all of the cell but its seed."""
    return repr(replace(cell, config={**cell.config, "seed": 0}))


def _training_step(settings: RunSettings, devices: int) -> Cell:
    """Return the training step of a run as a cell of the efficiency measurements."""
    return Cell(
        attention=settings.attention,
        scope="train",
        size=settings.task,
        preset=settings.preset,
        direction="step",
        length=make_task(settings.task, settings.data).max_len,
        batch=settings.train.batch_size,
        dtype=settings.model.dtype,
        layers=settings.model.num_layers,
        devices=devices,
        target=HERE,
        memory_limit=None,
        config=settings.as_dict(),
    )


def _extrapolate(settings: RunSettings, sizes: Mapping[str, int], line: Measurement) -> Estimate:
    """Return the estimate of a whole run from the measurement of its training step."""
    if line.timing is None:
        return Estimate()
    step, train = line.timing.wall.median, settings.train
    validations = -(-train.num_steps // train.eval_every)  # rounded up: the last step has one
    validation, test = (train.evaluated(sizes[name]) for name in ("validation", "test"))
    examples = validations * validation + test
    seconds = step * (train.num_steps + _FORWARD_SHARE * examples / train.batch_size)
    # The training step and the evaluation are compiled, each at about the same cost.
    seconds += _START_SECONDS + 2 * (line.compile_seconds or 0)
    peak = line.memory.peak_bytes if line.memory else None
    return Estimate(seconds, None if peak is None else _BASE_BYTES + peak)


@contextlib.contextmanager
def _only_on(cores: Sequence[int]) -> Iterator[None]:
    """Keep this process, and the processes that it starts, on these CPU cores within the block."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
