"""How long a run will take, and how much memory, before it has begun.

Known from runs of the same kind that have ended, else from a short calibration: a few training
steps, in a process of their own.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lra_bench.display.progress import Display
from lra_bench.efficiency import records, supervise
from lra_bench.efficiency.cells import HERE, Cell
from lra_bench.files import append_line
from lra_bench.registry import make_task
from lra_bench.settings import RunSettings
from lra_bench.sweep.history import Attempts
from lra_bench.sweep.plan import Job
from lra_bench.sweep.run_state import Standing

FILE = "calibration.jsonl"
_BUDGET_SECONDS, _TIME_LIMIT = 1.0, 600.0
# Starting Python, JAX and the data; and what a process holds besides its program's arrays.
_START_SECONDS, _BASE_BYTES = 8.0, 700 * 2**20
# An example costs a third of a training step's in evaluation: there is no backward pass.
_FORWARD_SHARE = 1 / 3


@dataclass(frozen=True)
class Estimate:
    """Of one run: seconds, and bytes of memory; None where nothing is known."""

    seconds: float | None = None
    memory: float | None = None


def from_the_past(
    jobs: Iterable[Job], standings: Mapping[str, Standing], attempts: Mapping[str, Attempts]
) -> dict[str, Estimate]:
    """Of each kind of which a run has ended, what such a run takes."""
    seconds: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for job in jobs:
        took = attempts[job.name].seconds if job.name in attempts else None
        if took is not None:
            seconds.setdefault(job.kind, []).append(took)
            ended = standings[job.name].record
            peak = ended and ended.peak_memory_bytes
            memory.setdefault(job.kind, []).extend([peak] if peak else [])
    return {
        kind: Estimate(fmean(known), max(memory[kind], default=None))
        for kind, known in seconds.items()
    }


@dataclass(frozen=True)
class Resources:
    """What one run has: cores of the host, none for all, and devices."""

    cores: Sequence[int]
    devices: int


def calibrate(
    jobs: Sequence[Job],
    sizes: Mapping[str, Mapping[str, int]],
    place: Resources,
    folder: Path,
    display: Display,
) -> dict[str, Estimate]:
    """Time some training steps of each kind; what is found is kept in the folder.

    Args:
        jobs: one of each kind.
        sizes: by kind, examples of each split.
    """
    path, found = folder / FILE, {}
    lines = records.read(path) if path.exists() else []
    known = {_key(Cell(**line["cell"])): line for line in lines}
    with display.bar("calibrating", len(jobs)) as bar, _only_on(place.cores):
        for number, job in enumerate(jobs):
            bar(number, job.kind)
            settings = job.settings()
            cell = _cell(settings, place.devices)
            line = known.get(_key(cell)) or _measure(cell, path)
            found[job.kind] = _estimate(settings, sizes[job.kind], line)
    return found


def _measure(cell: Cell, path: Path) -> dict[str, Any]:
    line = records.blank(cell, "")
    line.update(supervise.measure(cell, _BUDGET_SECONDS, _TIME_LIMIT, xla_flags=""))
    append_line(path, line)
    return line


def _key(cell: Cell) -> str:
    return repr(replace(cell, config={**cell.config, "seed": 0}))


def _cell(settings: RunSettings, devices: int) -> Cell:
    """The training step of a run, as the efficiency sweep would measure it."""
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


def _estimate(settings: RunSettings, sizes: Mapping[str, int], line: Mapping[str, Any]) -> Estimate:
    if line["timing"] is None:
        return Estimate()
    step, train = line["timing"]["wall"]["median"], settings.train
    evaluated = -(-train.num_steps // train.eval_every) * sizes["validation"]
    evaluated += sizes["test"]
    seconds = step * (train.num_steps + _FORWARD_SHARE * evaluated / train.batch_size)
    memory = line["memory"]["measured_bytes"] or line["memory"]["predicted_bytes"]
    return Estimate(_START_SECONDS + 2 * line["compile_seconds"] + seconds, _BASE_BYTES + memory)


@contextlib.contextmanager
def _only_on(cores: Sequence[int]) -> Iterator[None]:
    """Keep this process, and those that it starts, to some cores within the block."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
