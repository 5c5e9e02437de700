"""Print the plan of a run and how long it would take, for `lra-bench run --dry-run`."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lra_bench.display.units import duration, size_text
from lra_bench.records.run_folder import ENDED

if TYPE_CHECKING:
    from lra_bench.data.need import Need
    from lra_bench.display.progress import Display
    from lra_bench.records.run_folder import RunFolder
    from lra_bench.settings import RunSettings
    from lra_bench.sweep.run_state import RunState

_INDENT = 15


def show(
    args: argparse.Namespace, settings: "RunSettings", folder: "RunFolder", display: "Display"
) -> int:
    """Print the plan of a run and return the exit status, 0; nothing is written.

    Raises:
        UsageError: the folder holds something else.
    """
    from lra_bench.data.location import data_root
    from lra_bench.data.need import need
    from lra_bench.registry import make_task
    from lra_bench.sweep.history import Attempts
    from lra_bench.sweep.run_state import run_state

    folder.check_owner(settings)
    task = make_task(settings.task, settings.data)
    data = need(task, settings, data_root(args.data_dir), args.set)
    state = run_state(folder.path, Attempts())
    for label, text in _facts(settings, data, folder, state):
        display.entry(label, text, _INDENT)
    if state.status not in ENDED:
        for label, text in _costs(settings, data, state, display):
            display.entry(label, text, _INDENT)
    return 0


def _facts(
    settings: "RunSettings", data: "Need", folder: "RunFolder", state: "RunState"
) -> Iterator[tuple[str, str]]:
    """Yield what the run would do: pairs of a label and a text."""
    from lra_bench.records.departures import changes

    names = f"{settings.task} with {settings.attention}, preset {settings.preset}"
    yield "run", f"{names}, seed {settings.seed}"
    yield "settings", ", ".join(map(str, changes(settings.as_dict()))) or "those of the preset"
    train = settings.train
    yield "training", f"{train.num_steps:,} steps of {train.batch_size:,} examples"
    there = f"there, {data.location.path}"
    yield "data", there if data.is_there else data.describe()
    yield "folder", f"{folder.path}: {_state(folder, state)}"


def _state(folder: "RunFolder", state: "RunState") -> str:
    if state.status in ENDED:
        return "holds the finished run; --resume shows its result"
    if state.record is not None:
        status = state.status.replace("_", " ")
        return f"holds the run, which ended in {status!r}; --resume tries it again"
    if folder.started:
        return f"holds the unfinished run, at step {state.step:,}; --resume goes on with it"
    return "new"


def _costs(
    settings: "RunSettings", data: "Need", state: "RunState", display: "Display"
) -> Iterator[tuple[str, str]]:
    """Yield where the run would take place, and its time and memory, from some timed steps."""
    from lra_bench.efficiency import supervise
    from lra_bench.sweep.estimate import of_run

    host = supervise.describe()
    yield "devices", host.environment.device
    sizes = data.sizes()
    if not sizes:
        yield "time", "unknown until the data are there"
        return
    with display.busy("timing some training steps"):
        cost = of_run(settings, sizes, settings.train.num_devices or host.devices)
    if cost.seconds is None:
        yield "time", "unknown: the training step does not run here"
        return
    left = cost.seconds * (1 - state.step / settings.train.num_steps)
    yield "time", f"about {duration(left)}"
    if cost.memory is not None:
        yield "memory", f"about {size_text(cost.memory)}"
