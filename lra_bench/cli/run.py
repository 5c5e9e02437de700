"""The command lra-bench run: train and test one attention on one task."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra_bench.cli.common import (
    add_config,
    add_data_dir,
    add_dry_run,
    add_limit,
    add_names,
    add_preset,
    add_set,
    add_track,
    add_verbosity,
    display_of,
    natural,
    nothing_to_resume,
    positive,
    size,
    whole_number,
)
from lra_bench.cli.paths import checkpoint_path, output_folder
from lra_bench.display.escape import terminal
from lra_bench.display.units import GREATEST_LOSS
from lra_bench.errors import UsageError

if TYPE_CHECKING:
    from lra_bench.display.progress import Display
    from lra_bench.records.record import Record, Score
    from lra_bench.records.run_folder import RunFolder
    from lra_bench.runtime.processes import Processes
    from lra_bench.runtime.stopping import Stopped, StopRequest
    from lra_bench.settings import Origin, RunSettings

# Of the texts of a result, in characters.
_INDENT = 15
NAME = "run"
HELP = "train and test one attention on one task"
DESCRIPTION = """\
Train one attention mechanism on one task, keep the checkpoint with the best validation accuracy,
and test it once. Without arguments, Performer-softmax is trained on ListOps, which takes a few
minutes on two CPU cores.

The run writes metrics.jsonl, config.json, checkpoints/ and, last, record.json to DIR. Ctrl-C,
SIGTERM or SIGHUP stops it; it then saves its state, and --resume goes on from there. A run that is
killed goes on from its latest checkpoint.

--init-from starts with the parameters of a run with another attention, if both have the same
parameters. They are validated and tested before the first step; then training goes on as usual.
CHECKPOINT is the folder of a run, which stands for its best checkpoint, or a folder in its
checkpoints/, such as runs/listops-softmax-mini-seed0/checkpoints/600. It is only read.

Several hosts do one run together if each starts one process with the same arguments and with
--coordinator HOST:PORT --processes N --process-id I. The tasks of a Slurm job step and the hosts
of a TPU slice join without these flags; --processes 1 makes each of them do a run by itself.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_names(parser, "tasks", "attentions")
    own = "or a Python file of your own, such as my.py or my.py:name; default: %(default)s"
    task = f"a task, listed below, {own}"
    parser.add_argument("--task", default="listops", metavar="NAME", help=task)
    attention = f"an attention, listed below, {own}"
    parser.add_argument("--attention", default="performer-softmax", metavar="NAME", help=attention)
    add_preset(parser)
    add_config(parser)
    add_limit(parser)
    # A sweep passes on the file that it read, whose settings are among those of --set.
    parser.add_argument("--config-origin", nargs=2, help=argparse.SUPPRESS)
    one = whole_number(0, "; lra-bench sweep does several seeds")
    parser.add_argument(
        "--seed", type=one, default=0, metavar="N", help="seed; default: %(default)s"
    )
    out = "folder of the run; default: runs/TASK-ATTENTION-PRESET-seedN[-finetuned]"
    parser.add_argument("--out", type=output_folder, metavar="DIR", help=out)
    origin = (
        "start with the parameters of a checkpoint: the folder of a run, or one of its checkpoints"
    )
    parser.add_argument("--init-from", type=checkpoint_path, metavar="CHECKPOINT", help=origin)
    add_data_dir(parser)
    limit = "enforced limit, such as 16GiB; what Python and JAX take for themselves is not counted"
    parser.add_argument("--memory-limit", type=size, metavar="SIZE", help=limit)
    _add_processes(parser)
    resume = "go on with the run in DIR, or show its result if it has finished; else start it"
    parser.add_argument("--resume", action="store_true", help=resume)
    add_track(parser)
    add_dry_run(parser)
    add_verbosity(parser)
    add_set(parser)


def _add_processes(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a run that several processes do together."""
    where = "address at which process 0 listens for the others"
    parser.add_argument("--coordinator", metavar="HOST:PORT", help=where)
    count = "number of processes that do this run together"
    parser.add_argument("--processes", type=positive, metavar="N", help=count)
    which = "number of this process, from 0 on"
    parser.add_argument("--process-id", type=natural, metavar="I", help=which)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Do a run and return its exit status; when it is stopped, print how to go on with it."""
    from lra_bench.runtime.stopping import Stopped, StopRequest

    if args.track:
        from lra_bench.training import tracking

        tracking.check(args.track)
    if args.dry_run:
        return _plan(args)
    stop = StopRequest()
    try:
        with stop.listening(lambda: _end(Stopped(), argv)):
            return _join(args, stop)
    except Stopped as stopped:
        if stop.processes.is_first:
            _print_how_to_go_on(stopped, argv)
        return 1


def _plan(args: argparse.Namespace) -> int:
    """Print what the run would do, and return the exit status."""
    from lra_bench.cli import run_plan
    from lra_bench.records.run_folder import RunFolder
    from lra_bench.runtime.processes import Processes

    args.check_paths()
    if (args.coordinator, args.processes, args.process_id) != (None, None, None):
        from lra_bench.runtime.launch import by_flags

        by_flags(args.coordinator, args.processes, args.process_id)  # says what is wrong with them
    _name(args)
    folder, display = RunFolder(args.out or _folder(args)), display_of(args)
    origin = _origin(args.init_from, folder, Processes(), resume=args.resume)
    return run_plan.show(args, _settings(args, origin), folder, display)


def _settings(args: argparse.Namespace, origin: "Origin | None") -> "RunSettings":
    """Return the settings: of the preset, then of --config, of --limit and of --set; the last win.

    Raises:
        UsageError: a name, a key or a value is wrong; what is wrong in a file is named so.
    """
    from lra_bench.config import limited, make_settings
    from lra_bench.settings import ConfigFile

    names = (args.task, args.attention, args.preset, args.seed)
    file = ConfigFile(*args.config_origin) if args.config_origin else None
    of_file: list[str] = []
    if args.config is not None:
        from lra_bench.cli import config_file

        read = config_file.read(args.config)
        file, of_file = read.file, read.for_attention(args.attention)
        config_file.check(read, names[:3])
    short = limited(args.task, args.preset, args.limit, of_file)
    overrides = [*of_file, *short, *args.set]
    return replace(make_settings(*names, overrides, origin), config_file=file)


def _name(args: argparse.Namespace) -> None:
    """Replace files of the user by the names that they register."""
    from lra_bench.registry import ATTENTIONS, TASKS
    from lra_bench.runtime.source_files import is_reference

    for kind, name in (("task", args.task), ("attention", args.attention)):
        if "," in name and not is_reference(name):
            shown = terminal(name)
            raise UsageError(f"--{kind} takes one name; lra-bench sweep has --{kind}s {shown}")
    args.task, args.attention = TASKS.named(args.task), ATTENTIONS.named(args.attention)


def _folder(args: argparse.Namespace) -> Path:
    """Return the folder of a run that was given none."""
    from lra_bench.records.run_folder import usual_folder

    names = (args.task, args.attention, args.preset, args.seed)
    return usual_folder(*names, finetuned=bool(args.init_from))


def _end(stopped: "Stopped", argv: list[str]) -> None:
    """End this process at once, on a stop request that the run did not act on in time."""
    _print_how_to_go_on(stopped, argv)
    os._exit(1)


def _print_how_to_go_on(stopped: "Stopped", argv: list[str]) -> None:
    """Print how far the run has come, and the command that goes on with it."""
    from lra_bench.display.busy import say
    from lra_bench.display.command import command

    again = command(*(word for word in argv if word != "--resume"), "--resume")
    say(f"{stopped}; go on with: {again}")
    sys.stdout.flush()


def _join(args: argparse.Namespace, stop: "StopRequest") -> int:
    """Join the other processes of the run, do it, and return its exit status."""
    from lra_bench.display.busy import busy
    from lra_bench.runtime import gpu_share

    if args.memory_limit is not None:
        gpu_share.limit(args.memory_limit)
    with busy("loading JAX"):
        import lra_bench.training.run  # noqa: F401
        from lra_bench.runtime.launch import joined

    with joined(args.coordinator, args.processes, args.process_id) as processes:
        stop.processes = processes
        processes.together(args.check_paths)
        return run(args, stop)


def run(args: argparse.Namespace, stop: "StopRequest") -> int:
    """Do one run together with the other processes and return its exit status.

    Raises:
        Stopped: the run was asked to stop, and has saved its state.
    """
    from lra_bench.records.run_folder import RunFolder

    _name(args)
    folder = RunFolder(args.out or _folder(args))
    processes = stop.processes
    origin = _origin(args.init_from, folder, processes, resume=args.resume)
    settings = _settings(args, origin)
    display = display_of(args, quiet=not processes.is_first)
    record = _finished(folder, settings, processes, resume=args.resume)
    if record is None:
        if args.resume and not folder.started:
            display.line(nothing_to_resume(folder.path))
        display.line(f"{args.task} with {args.attention}, preset {args.preset}, seed {args.seed}")
        record = _execute(settings, folder, args, display, stop)
    _show(record, folder.path, display)
    return 0 if record.status == "ok" else 1


def _origin(
    path: Path | None, folder: "RunFolder", processes: "Processes", *, resume: bool
) -> "Origin | None":
    """Return the checkpoint that the run starts with; None for a run from random parameters.

    A run that goes on does not need the files of that checkpoint: its own folder describes it.
    """
    if path is None:
        return None
    from lra_bench.settings import Origin
    from lra_bench.training.init_from import identify

    def find() -> dict[str, Any]:
        recorded = folder.origin(path) if resume and not path.exists() else None
        return asdict(recorded or identify(path))

    return Origin(**processes.on_first(find))


def _finished(
    folder: "RunFolder", settings: "RunSettings", processes: "Processes", *, resume: bool
) -> "Record | None":
    """Return the record in the folder if its run has finished, else None."""
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
    """Do the run and return its record."""
    from lra_bench.data.location import data_root
    from lra_bench.data.need import need
    from lra_bench.registry import make_task
    from lra_bench.training.run import execute

    root = data_root(args.data_dir)
    data = need(make_task(settings.task, settings.data), settings, root, args.set)
    stop.processes.together(data.require_files)
    return execute(
        settings,
        folder,
        root,
        display,
        stop,
        resume=args.resume,
        memory_limit=args.memory_limit,
        prepare_command=data.location.prepared_by,
        track=args.track,
    )


def _show(record: "Record", folder: Path, display: "Display") -> None:
    """Print the result of a run and where its record is."""
    from lra_bench.display.command import command, path
    from lra_bench.records.run_folder import COPIES

    if record.test is None or record.validation is None:
        display.line(f"{record.status.replace('_', ' ')}: {terminal(record.error)}")
        if record.status == "diverged" and record.config.get("attention_file"):
            copy = path(folder / COPIES["attention_file"])
            display.line(f"to check the promises of your attention: {command('verify', copy)}")
    else:
        display.line()
        for name, text in _results(record, record.test, record.validation):
            display.entry(name, text, _INDENT)
    display.entry("record", str(folder / "record.json"), _INDENT)


def _of_tokens(record: "Record", test: "Score") -> Iterator[tuple[str, str]]:
    """Yield how well tokens are predicted: pairs of a label and a text."""
    if test.loss is not None:
        bits = test.loss / math.log(2)
        yield "perplexity", f"{_exp(test.loss)}, {bits:.4f} bits a token"
        if factor := record.config["data"].get("tokens_per_word"):
            yield (
                "",
                f"{_exp(factor * test.loss)} a word, of {factor:g} tokens: exp({factor:g} x loss)",
            )
    if (held_out := record.held_out) is not None:
        examples = f"{held_out.accuracy:.1%} of {held_out.examples:,}"
        yield "held-out", f"{examples}{_perplexity(held_out.loss)}"


def _perplexity(loss: float | None) -> str:
    return "" if loss is None else f", perplexity {_exp(loss)}"


def _exp(loss: float) -> str:
    """Return the perplexity of a loss in nats; "inf" if no float holds it."""
    return "inf" if loss > GREATEST_LOSS else f"{math.exp(loss):,.3f}"


def _results(record: "Record", test: "Score", validation: "Score") -> Iterator[tuple[str, str]]:
    """Yield the result of a run that ended well: pairs of a label and a text."""
    from lra_bench.published import of

    accuracy = f"{test.accuracy:.1%} of {test.examples:,}"
    best = f"(best validation {validation.accuracy:.1%}, at step {record.best_step})"
    yield "test accuracy", f"{accuracy} {best}"
    if record.chance_loss is not None:
        yield from _of_tokens(record, test)
    if record.init_from and record.init_from.test:
        origin, zero_shot = record.init_from, record.init_from.test
        remark = f"with {origin.attention}'s parameters, before any step"
        yield "zero-shot", f"{zero_shot.accuracy:.1%} {remark}"
    yield "chance", f"{record.chance:.1%}{_perplexity(record.chance_loss)} ({record.guess})"
    rows = of(record.attention, record.task)
    for index, row in enumerate(rows):
        figure = f"{row.accuracy[record.task]:.1f} % {row.source}"
        setting = row.setting(record.task)
        yield "" if index else "published", figure + (f" ({setting})" if setting else "")
    if record.steps_per_second:
        yield "speed", f"{record.steps_per_second:.2f} steps/s"
