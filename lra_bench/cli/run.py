"""lra-bench run: one task with one attention."""

import argparse
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra_bench.cli.common import add_data_dir, add_set, natural, positive, size

if TYPE_CHECKING:
    from lra_bench.display.progress import Display
    from lra_bench.records.record import Record, Score
    from lra_bench.records.run_folder import RunFolder
    from lra_bench.runtime.processes import Processes
    from lra_bench.runtime.stopping import Stopped, StopRequest
    from lra_bench.settings import Origin, RunSettings

NAME = "run"
HELP = "train and test one attention on one task"
DESCRIPTION = """\
Train one attention mechanism on one task, keep the checkpoint that validates best, and test it
once. Without arguments: Performer-softmax on ListOps, a few minutes on two CPU cores.

DIR gets record.json (written last), metrics.jsonl, config.json and checkpoints/. A run that is
stopped by Ctrl-C or SIGTERM saves where it is, and goes on from there with --resume; one that is
killed, from its latest checkpoint.

--init-from starts with the parameters of a run that was trained with another attention, if both
have the same parameters: validates and tests them before any step, then trains as usual. CHECKPOINT
is a run's folder, for its best checkpoint, or one in its checkpoints/, such as
runs/listops-softmax-mini-seed0/checkpoints/600. It is only read.

Several processes, one a host, do one run together if each is started with the same arguments and
--coordinator HOST:PORT --processes N --process-id I. The tasks of a Slurm job step and the hosts
of a TPU slice need no flags; there --processes 1 makes a run of each process alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--task", default="listops", help="default: %(default)s")
    parser.add_argument("--attention", default="performer-softmax", help="default: %(default)s")
    parser.add_argument("--preset", default="mini", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    out = "where the run is kept; default: runs/TASK-ATTENTION-PRESET-seedN[-finetuned]"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    origin = "start with the parameters of another run, by its folder or that of a checkpoint"
    parser.add_argument("--init-from", type=Path, metavar="CHECKPOINT", help=origin)
    add_data_dir(parser)
    limit = "such as 16GiB, held by force: what Python and JAX take by themselves doesn't count"
    parser.add_argument("--memory-limit", type=size, metavar="SIZE", help=limit)
    _add_processes(parser)
    resume = "go on with the run in DIR, or show its result if it is finished"
    parser.add_argument("--resume", action="store_true", help=resume)
    add_set(parser)


def _add_processes(parser: argparse.ArgumentParser) -> None:
    where = "where process 0 listens for the others"
    parser.add_argument("--coordinator", metavar="HOST:PORT", help=where)
    count = "how many processes do this run together"
    parser.add_argument("--processes", type=positive, metavar="N", help=count)
    which = "which of them this is, from 0 on"
    parser.add_argument("--process-id", type=natural, metavar="I", help=which)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the run."""
    from lra_bench.runtime.stopping import Stopped, StopRequest

    stop = StopRequest()
    try:
        with stop.listening(lambda: _end(Stopped(), argv)):
            return _join(args, stop)
    except Stopped as stopped:
        if stop.processes.is_first:
            _say_how_to_go_on(stopped, argv)
        return 1


def _end(stopped: "Stopped", argv: list[str]) -> None:
    _say_how_to_go_on(stopped, argv)
    os._exit(1)


def _say_how_to_go_on(stopped: "Stopped", argv: list[str]) -> None:
    again = shlex.join(["lra-bench", *(word for word in argv if word != "--resume")])
    print(f"{stopped}; go on with: {again} --resume", flush=True)


def _join(args: argparse.Namespace, stop: "StopRequest") -> int:
    from lra_bench.runtime import memory

    if args.memory_limit is not None:
        memory.limit_allocator(args.memory_limit)
    from lra_bench.runtime.launch import joined

    with joined(args.coordinator, args.processes, args.process_id) as processes:
        stop.processes = processes
        return run(args, stop)


def run(args: argparse.Namespace, stop: "StopRequest") -> int:
    """Do one run together with the other processes; return its exit status.

    Raises:
        Stopped: on request.
    """
    from lra_bench.config import make_settings
    from lra_bench.display.progress import Display
    from lra_bench.records.run_folder import RunFolder

    name = f"{args.task}-{args.attention}-{args.preset}-seed{args.seed}"
    name += "-finetuned" if args.init_from else ""
    folder = RunFolder(args.out or Path("runs") / name)
    names, processes = (args.task, args.attention, args.preset, args.seed), stop.processes
    origin = _origin(args.init_from, folder, processes, resume=args.resume)
    settings = make_settings(*names, args.set, origin)
    display = Display(quiet=not processes.is_first)
    record = _finished(folder, settings, processes, resume=args.resume)
    if record is None:
        display.line(f"{args.task} with {args.attention}, preset {args.preset}, seed {args.seed}")
        record = _execute(settings, folder, args, display, stop)
    _show(record, folder.path, display)
    return 0 if record.status == "ok" else 1


def _origin(
    path: Path | None, folder: "RunFolder", processes: "Processes", *, resume: bool
) -> "Origin | None":
    """Return the checkpoint to start with; a run that has started with it needs no file of it."""
    if path is None:
        return None
    from lra_bench.settings import Origin
    from lra_bench.training.init_from import identify

    def find() -> dict[str, Any]:
        known = folder.origin(path) if resume and not path.exists() else None
        return asdict(known or identify(path))

    return Origin(**processes.on_first(find))


def _finished(
    folder: "RunFolder", settings: "RunSettings", processes: "Processes", *, resume: bool
) -> "Record | None":
    """Return the record in the folder if the run there is finished."""
    from lra_bench.records.record import parse

    def check() -> dict[str, Any] | None:
        record = folder.check(settings, resume=resume)
        return record and record.as_dict()

    values = processes.on_first(check)
    return None if values is None else parse(values)


def _execute(
    settings: "RunSettings",
    folder: "RunFolder",
    args: argparse.Namespace,
    display: "Display",
    stop: "StopRequest",
) -> "Record":
    from lra_bench.data.location import data_root
    from lra_bench.training.run import execute

    return execute(
        settings,
        folder,
        data_root(args.data_dir),
        display,
        stop,
        resume=args.resume,
        memory_limit=args.memory_limit,
    )


def _show(record: "Record", folder: Path, display: "Display") -> None:
    """Print the result of a run."""
    if record.test is None or record.validation is None:
        display.line(f"{record.status.replace('_', ' ')}: {record.error}")
    else:
        display.line()
        for name, text in _results(record, record.test, record.validation):
            display.line(f"{name:<15}{text}")
    display.line(f"record         {folder / 'record.json'}")


def _results(record: "Record", test: "Score", validation: "Score") -> Iterator[tuple[str, str]]:
    """Yield the lines of a run that ended well."""
    from lra_bench.published import of

    accuracy = f"{test.accuracy:.1%} of {test.examples:,}"
    best = f"(best validation {validation.accuracy:.1%}, at step {record.best_step})"
    yield "test accuracy", f"{accuracy} {best}"
    if record.init_from and record.init_from.test:
        origin, zero_shot = record.init_from, record.init_from.test
        whose = f"with {origin.attention}'s parameters, before any step"
        yield "zero-shot", f"{zero_shot.accuracy:.1%} {whose}"
    yield "chance", f"{record.chance:.1%} (always the commonest answer)"
    rows = of(record.attention, record.task)
    if rows:
        yield "published", ", ".join(f"{x.accuracy[record.task]:.1f} % {x.source}" for x in rows)
        yield "", "(full-size settings; compare with presets small and paper)"
    if record.steps_per_second:
        yield "speed", f"{record.steps_per_second:.2f} steps/s"
