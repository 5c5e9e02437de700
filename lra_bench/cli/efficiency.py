"""lra-bench efficiency: measure speed, memory, and where memory ends."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.common import (
    add_dry_run,
    add_names,
    add_preset,
    add_resume,
    add_set,
    add_verbosity,
    counts,
    display_of,
    names,
    nothing_to_resume,
    one_of,
    positive,
    seconds,
    several,
    size,
)
from lra_bench.cli.paths import output_folder
from lra_bench.cli.table import style
from lra_bench.display.busy import say

if TYPE_CHECKING:
    from lra_bench.display.progress import Display
    from lra_bench.efficiency.cells import Cell
    from lra_bench.efficiency.measure import Measuring
    from lra_bench.efficiency.measurement import Measurement
    from lra_bench.efficiency.plan import Choice
    from lra_bench.efficiency.supervise import Host

# The usual memory limit is a multiple of so many bytes: each start of a machine may leave it a page
# more or less, and cells of another limit are other cells.
_LIMIT_STEP = 2**26

NAME = "efficiency"
HELP = "measure speed, memory and the length at which memory ends"
DESCRIPTION = """\
Measure time and memory of attentions as the length grows, each cell in a process of its own: it is
compiled, warmed up, and repeated until the spread is small or the budget is spent. Each round does
all that again, since the machine may be slower at times. Running out of memory is a result; longer
lengths are then not run. identity, which returns the values, is always measured too: no attention
can cost less. Lists are separated by commas; all combinations are measured.

DIR gets efficiency.jsonl, with a line for each cell and round. The same command continues a sweep
that was stopped. Without arguments it measures every attention alone, 8 heads of 64, L = 512 to
32,768; --dry-run says how long that takes here.

With --target tpu-v2, tpu-v3, tpu-v4, tpu-v5e, tpu-v5p or tpu-v6e cells are compiled ahead of time
for a TPU that this machine may lack (pip install 'lra-bench[tpu]'); the compiler tells how much
memory a device needs, whether it has that much, and its estimate of the time. Targets v100-16gb,
t4, a100-40gb, a100-80gb, l4, h100, h200 and b200 tell the memory and the kernels of GPUs
(pip install 'lra-bench[cuda12]'), and so does the path of a file that describes one. --target
estimate compiles for this machine's CPU, with --memory-limit: an estimate for devices whose
compiler is not installed; it tells no time.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_names(parser, "attentions")
    add = parser.add_argument
    listed = "listed below, or Python files of your own, such as my.py or my.py:name; default: all"
    add("--attentions", type=names, default=("all",), metavar="NAMES", help=listed)
    lengths = "tokens; default: 512 to 32,768 by doubling, for a task its own length with padding"
    add("--lengths", type=counts, default=(), metavar="N,N,...", help=lengths)
    scope = "attention alone, the whole model, or train, a step with the optimiser"
    scope += "; default: attention"
    add("--scope", type=_scopes, default=("attention",), metavar="NAMES", help=scope)
    sizes = (
        "regular or small, the Transformers of the Performer paper's Fig. 3, a task, or all tasks "
        "that have the preset"
    )
    sizes += "; default: regular"
    add("--size", type=names, default=("regular",), metavar="NAMES", help=sizes)
    add_preset(parser, "preset of the tasks", "paper")
    passes = "forward, or backward: forward and backward; default: both"
    add(
        "--pass",
        dest="passes",
        type=_passes,
        default=("forward", "backward"),
        metavar="NAMES",
        help=passes,
    )
    batch = "examples of all devices together; default: 1, for a task its preset's batch size"
    add("--batch", type=counts, default=(), metavar="N,N,...", help=batch)
    dtypes = "float32, bfloat16 or both; default: float32"
    add("--dtype", type=_dtypes, default=("float32",), metavar="NAMES", help=dtypes)
    add("--layers", type=counts, default=(), metavar="N,N,...", help="layers of the model")
    add(
        "--devices",
        type=positive,
        default=1,
        metavar="N",
        help="devices that share a batch; default: 1",
    )
    target = (
        "here, estimate, a TPU or GPU named above, or a file that describes a GPU; default: here"
    )
    add("--target", default="here", metavar="NAME", help=target)
    limit = "such as 16GiB, enforced; default: 80%% of the machine's on CPU, else the device's"
    add("--memory-limit", type=size, metavar="SIZE", help=limit)
    add("--largest", action="store_true", help="find the largest length that fits, by bisection")
    rounds = "how often to visit each cell; times are pooled; default: %(default)s"
    add("--rounds", type=positive, default=3, metavar="N", help=rounds)
    budget = "time for timing a cell, such as 30 or 1m, all rounds together; default: %(default)g s"
    add("--budget", type=seconds, default=10.0, metavar="TIME", help=budget)
    ends = "time after which a visit to a cell is ended, such as 900 or 15m; default: %(default)g s"
    add("--time-limit", type=seconds, default=900.0, metavar="TIME", help=ends)
    where = "folder of the records; default: %(default)s"
    add("--out", type=output_folder, default=Path("efficiency"), metavar="DIR", help=where)
    add_resume(parser)
    add_dry_run(parser)
    add_verbosity(parser)
    add_set(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Measure the cells that are not done."""
    del argv
    from lra_bench.efficiency import dry_run, records, supervise, targets
    from lra_bench.efficiency.measure import Effort, Measuring, machine
    from lra_bench.efficiency.plan import cells, not_planned
    from lra_bench.errors import UsageError
    from lra_bench.files.locks import locked

    targets.check(args.target)
    if targets.is_gpu(args.target):
        supervise.check_devices(args.target, args.devices)
    choice = _choice(args, None)
    cells(choice)  # refuses a wrong choice before anything starts
    here = supervise.describe(args.target)
    todo = cells(_choice(args, here))
    display, path = display_of(args), args.out / records.FILE
    for line in not_planned(choice):
        display.line(line)
    effort = Effort(args.budget, args.rounds, args.time_limit, here.xla_flags)
    if args.dry_run:
        there = Measuring(path, machine(args.target, here.environment), effort, display)
        dry_run.show(there, todo, display)
        return 0
    if args.resume and not path.exists():
        display.line(nothing_to_resume(args.out))
    with locked(args.out / ".lock", wait=False) as ours:
        if not ours:
            raise UsageError(f"another sweep is writing to {args.out}")
        measuring = Measuring(path, machine(args.target, here.environment), effort, display)
        if not _is_finished(measuring, todo, find_largest=args.largest):
            return 1
    _show(measuring.lines(todo), path, display)
    return 1 if measuring.failed else 0


def _is_finished(measuring: "Measuring", todo: "list[Cell]", *, find_largest: bool) -> bool:
    """Measure the cells; return whether that was not stopped by the user."""
    try:
        measuring.run(todo, find_largest=find_largest)
    except KeyboardInterrupt:
        measuring.display.line("stopped; the same command goes on from here")
        return False
    return True


def _show(lines: "list[Measurement]", path: Path, display: "Display") -> None:
    """Print all tables, and where the records are."""
    from lra_bench.display import command
    from lra_bench.scaling.tables import render

    if not display.is_quiet:
        say(f"\n{render(lines, style(), with_published=False)}")
    figures = command.command("report", command.path(path.parent), "--out", "report")
    display.line(f"records in {path}; figures: {figures}")


def _choice(args: argparse.Namespace, here: "Host | None") -> "Choice":
    """Return what the arguments ask for, with the default memory limit of this machine."""
    from lra_bench.efficiency import targets
    from lra_bench.efficiency.cells import HERE
    from lra_bench.efficiency.plan import Choice

    limit = targets.memory_limit(args.target, args.memory_limit)
    if limit is None and here and args.target == HERE:
        on_cpu = here.environment.platform == "cpu"
        limit = _usual_limit(here.device_bytes) if on_cpu else None
    return Choice(
        attentions=args.attentions,
        lengths=args.lengths,
        scopes=args.scope,
        sizes=args.size,
        passes=args.passes,
        preset=args.preset,
        batches=args.batch,
        dtypes=args.dtype,
        layers=args.layers,
        devices=args.devices,
        target=args.target,
        memory_limit=limit,
        overrides=tuple(args.set),
    )


def _usual_limit(machine: int) -> int:
    """Return 80 % of the bytes of a machine, rounded down."""
    return max(machine * 4 // 5 // _LIMIT_STEP, 1) * _LIMIT_STEP


_dtype = one_of("dtype", ("float32", "bfloat16"), bf16="bfloat16", fp32="float32", f32="float32")
_dtypes = several(_dtype, "float32,bfloat16")
_pass = one_of("pass", ("forward", "backward"), fwd="forward", bwd="backward")
_passes = several(_pass, "forward,backward")
_scopes = several(one_of("scope", ("attention", "model", "train")), "attention,train")
