"""lra-bench sweep: many tasks, attentions and seeds."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.common import (
    add_data_dir,
    add_set,
    names,
    natural,
    positive,
    seconds,
    several,
    size,
)

if TYPE_CHECKING:
    from lra_bench.sweep.plan import Choice

NAME = "sweep"
HELP = "train and test many attentions on many tasks"
DESCRIPTION = """\
Train and test every attention on every task with every seed, each a run of its own in
DIR/TASK-ATTENTION-seedN. What is to be done is printed first, with how long it will take by a short
calibration.

The same command goes on with a sweep that was stopped or killed, and does what is new in it:
finished runs are left, unfinished ones go on where they were, those that failed are tried again.
A run that fails never stops the others. The exit status is 0 if every run has a result, be it that
it diverged or ran out of memory.

--executor ray spreads the runs over a Ray cluster (pip install 'lra-bench[ray]'): the one that is
started on this machine or named by RAY_ADDRESS.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("--tasks", type=names, default=("all",), metavar="NAMES", help="default: all")
    add("--attentions", type=names, default=("all",), metavar="NAMES", help="default: all")
    add("--seeds", type=_seeds, default=(0, 1, 2), metavar="N,N,...", help="default: 0,1,2")
    add("--preset", default="mini", help="default: %(default)s")
    grid = "try each of these values, in all combinations with those of other keys; repeatable"
    add("--grid", action="append", type=_axis, default=[], metavar="KEY=V,V,...", help=grid)
    chosen = "only runs whose name has a word in it, or matches a pattern such as '*-seed0'"
    add("--filter", type=names, default=(), metavar="WORDS", help=chosen)
    add("--out", type=Path, metavar="DIR", help="where the runs are kept; needed")
    add("--executor", choices=("local", "ray"), default="local", help="default: %(default)s")
    jobs = "runs side by side; default: as devices suffice for, on CPU 1"
    add("--jobs", type=positive, metavar="N", help=jobs)
    for name, what in (("cpus", "CPU cores"), ("gpus", "GPUs"), ("tpus", "TPU chips")):
        add(f"--{name}", type=natural, default=0, metavar="N", help=f"{what} of one run")
    retries = "how often a run that failed is tried again; default: %(default)s"
    add("--retries", type=natural, default=2, metavar="N", help=retries)
    limit = "seconds a run may take; default: ten times the estimate, at least an hour"
    add("--time-limit", type=seconds, metavar="S", help=limit)
    add(
        "--memory-limit",
        type=size,
        metavar="SIZE",
        help="of one run, such as 16GiB; default: none",
    )
    add("--no-calibration", action="store_true", help="don't time anything first")
    add("--dry-run", action="store_true", help="print what would be done, and stop")
    status = "print how the sweep in DIR stands, and touch nothing"
    add("--status", type=Path, metavar="DIR", help=status)
    add_data_dir(parser)
    add_set(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do the sweep, or what is left of it."""
    del argv
    from lra_bench.display.progress import Display
    from lra_bench.errors import UsageError
    from lra_bench.sweep import status

    if args.status is not None:
        return status.show(args.status, Display())
    if args.out is None:
        raise UsageError("sweep needs --out DIR (see lra-bench sweep --help)")
    from lra_bench.sweep.executor import Needs
    from lra_bench.sweep.schedule import Patience
    from lra_bench.sweep.sweep import Request, execute

    request = Request(
        choice=_choice(args),
        out=args.out,
        data=args.data_dir,
        executor=args.executor,
        jobs=args.jobs,
        needs=Needs(args.cpus, args.gpus, args.tpus),
        patience=Patience(args.retries, args.time_limit),
        memory_limit=args.memory_limit,
        calibrate=not args.no_calibration,
        dry_run=args.dry_run,
    )
    return execute(request, Display())


def _choice(args: argparse.Namespace) -> "Choice":
    from lra_bench.sweep.plan import Choice

    return Choice(
        tasks=args.tasks,
        attentions=args.attentions,
        seeds=args.seeds,
        preset=args.preset,
        overrides=tuple(args.set),
        grid=tuple(args.grid),
        filters=args.filter,
    )


def _axis(text: str) -> tuple[str, tuple[str, ...]]:
    key, _, values = text.partition("=")
    if not key or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE,VALUE,...")
    return key, names(values)


_seeds = several(natural)
