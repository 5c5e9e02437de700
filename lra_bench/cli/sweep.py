"""The command lra-bench sweep: train and test many attentions on many tasks."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from lra_bench.cli.common import (
    add_calibration,
    add_config,
    add_data_dir,
    add_dry_run,
    add_jobs,
    add_limit,
    add_names,
    add_preset,
    add_resume,
    add_seeds,
    add_set,
    add_track,
    add_verbosity,
    calibrates,
    display_of,
    names,
    natural,
    nothing_to_resume,
    one_of,
    seconds,
    size,
    texts,
)
from lra_bench.cli.paths import input_folder, output_folder

if TYPE_CHECKING:
    from lra_bench.cli.config_file import FileSettings
    from lra_bench.sweep.plan import Choice

NAME = "sweep"
HELP = "train and test many attentions on many tasks"
DESCRIPTION = """\
Train and test every attention on every task with every seed. Each combination is one run, in the
folder DIR/TASK-ATTENTION-seedN. The plan is printed first, with an estimate of its time from a
short calibration. --dry-run stops there, and writes nothing.

The same command goes on with a sweep that was stopped or killed, and may add runs to it. Finished
runs are kept, unfinished ones go on where they were, and failed ones are tried again. A run that
fails does not stop the others. The exit status is 0 if every run has a result; that a run diverged
or ran out of memory is a result too.

--executor ray spreads the runs over a Ray cluster (pip install 'lra-bench[ray]'): the one started
on this machine, or the one at RAY_ADDRESS. --executor slurm submits a Slurm job for each run
(pip install 'lra-bench[slurm]').
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_names(parser, "tasks", "attentions")
    _add_choice(parser)
    out_help = "folder of the sweep; required, except with --status"
    parser.add_argument("--out", type=output_folder, metavar="DIR", help=out_help)
    _add_places(parser)
    _add_bounds(parser)
    add_calibration(parser)
    add_dry_run(parser, timed=False)
    skip = "leave out the runs whose data are missing, and do the others"
    parser.add_argument("--skip-missing-data", action="store_true", help=skip)
    status = "print the state of each run of the sweep in DIR, and change nothing"
    parser.add_argument("--status", type=input_folder, metavar="DIR", help=status)
    add_resume(parser)
    add_data_dir(parser)
    add_track(parser)
    add_verbosity(parser)
    add_set(parser)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose runs."""
    add = parser.add_argument
    listed = "listed below, or Python files of your own, such as my.py or my.py:name; default: all"
    add("--tasks", type=names, default=("all",), metavar="NAMES", help=listed)
    add("--attentions", type=names, default=("all",), metavar="NAMES", help=listed)
    add_seeds(parser)
    add_preset(parser)
    add_config(parser)
    add_limit(parser)
    grid = (
        "try each of these values; with several keys, all combinations of their values; repeatable"
    )
    add("--grid", action="append", type=_axis, default=[], metavar="KEY=V,V,...", help=grid)
    chosen = (
        "only runs whose name contains one of these words or matches a pattern such as '*-seed0'"
    )
    add("--filter", type=texts, default=(), metavar="WORDS", help=chosen)


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where runs take place."""
    add = parser.add_argument
    executor = one_of("executor", ("local", "ray", "slurm"))
    where = "local, ray or slurm; default: %(default)s"
    add("--executor", type=executor, default="local", metavar="NAME", help=where)
    add_jobs(parser)
    for name, hardware in (("cpus", "CPU cores"), ("gpus", "GPUs"), ("tpus", "TPU chips")):
        add(
            f"--{name}",
            type=natural,
            default=0,
            metavar="N",
            help=f"number of {hardware} for one run",
        )
    options = (
        "option of sbatch for the jobs of --executor slurm, such as partition=gpu or mem=32G; "
        "cluster=local does the jobs on this machine, without Slurm; repeatable"
    )
    add("--slurm", action="append", type=_option, default=[], metavar="NAME=VALUE", help=options)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that bound an attempt at a run."""
    add = parser.add_argument
    retries = "number of times that a failed run is tried again; default: %(default)s"
    add("--retries", type=natural, default=2, metavar="N", help=retries)
    limit = (
        "how long one attempt at a run may take, such as 3600, 90m or 2h; default: 10 times the "
        "estimate, at least 1h"
    )
    add("--time-limit", type=seconds, metavar="TIME", help=limit)
    memory = "memory that one run may use, such as 16GiB; default: no limit"
    add("--memory-limit", type=size, metavar="SIZE", help=memory)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do a sweep, or what is left of it, and return the exit status."""
    from lra_bench.display.command import command
    from lra_bench.errors import UsageError
    from lra_bench.sweep import status

    if args.status is not None:
        return status.show(args.status, display_of(args))
    if args.out is None:
        raise UsageError("sweep needs --out DIR (see lra-bench sweep --help)")
    if args.slurm and args.executor != "slurm":
        raise UsageError("--slurm is for --executor slurm")
    from lra_bench.cli import config_file
    from lra_bench.sweep.executor import Needs
    from lra_bench.sweep.history import History
    from lra_bench.sweep.schedule import Patience
    from lra_bench.sweep.sweep import Request, execute
    from lra_bench.training import tracking

    tracking.check(args.track)
    file = None if args.config is None else config_file.read(args.config)
    request = Request(
        choice=_choice(args, file),
        config_file=file and file.file,
        track=args.track,
        out=args.out,
        data=args.data_dir,
        executor=args.executor,
        jobs=args.jobs,
        needs=Needs(args.cpus, args.gpus, args.tpus),
        patience=Patience(args.retries, args.time_limit),
        memory_limit=args.memory_limit,
        calibrate=calibrates(args),
        dry_run=args.dry_run,
        skip_missing_data=args.skip_missing_data,
        without_missing_data=command(*argv, "--skip-missing-data"),
        slurm=tuple(args.slurm),
    )
    if file is not None:
        _check(request.choice, file)
    display = display_of(args)
    if args.resume and not History(args.out).jobs():
        display.line(nothing_to_resume(args.out))
    return execute(request, display)


def _choice(args: argparse.Namespace, file: "FileSettings | None") -> "Choice":
    """Return which runs the arguments ask for."""
    from lra_bench.sweep.plan import Choice

    return Choice(
        tasks=args.tasks,
        attentions=args.attentions,
        seeds=args.seeds,
        preset=args.preset,
        overrides=tuple(args.set),
        base=file.overrides if file else (),
        of_attentions=file.of_attentions if file else {},
        grid=tuple(args.grid),
        filters=args.filter,
        limit=args.limit,
    )


def _check(choice: "Choice", file: "FileSettings") -> None:
    """Check that the settings of a file are valid for all runs.

    Raises:
        UsageError: a key or a value is wrong, in the file or elsewhere.
    """
    from lra_bench.cli import config_file
    from lra_bench.sweep.plan import jobs

    jobs(replace(choice, base=(), of_attentions={}))  # what is wrong here is not the file's fault
    config_file.check_attentions(file)
    with config_file.blamed(file):
        jobs(choice)


def _axis(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the key and the values of "KEY=VALUE,VALUE,..."."""
    key, _, values = text.partition("=")
    if not key or not values:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE,VALUE,...")
    return key, texts(values)


def _option(text: str) -> tuple[str, str]:
    """Return the name and the value of "NAME=VALUE"."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
