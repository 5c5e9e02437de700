"""The command `lra-bench table` makes tables from records."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lra_bench.cli.common import add_strict, one_of, strictly
from lra_bench.cli.paths import compared, output_file, records_path
from lra_bench.display.busy import say

# What matplotlib draws, by the end of a file's name.
_PICTURES = (".png", ".svg", ".pdf")
NAME = "table"
HELP = "make tables from records"
DESCRIPTION = """\
Make tables from the records below each DIR. Tables of accuracy, one for each preset, show mean and
standard deviation over seeds, averages over tasks, parameters, speed, and the accuracy of chance;
what is significantly the best is bold, and (-) marks what is not significantly better than
identity, which is no attention. Tables of efficiency, for each setting and machine, show time,
memory, speed-ups, and how they grow with the length. Tables of state, for each setting and task,
show accuracy beside the bytes that a mechanism keeps of a sequence; --figure draws them.

--compare A B shows where two attentions differ significantly, and by how much; without DIR, it
compares two folders of records.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "dirs", nargs="*", type=records_path, metavar="DIR", help="searched for records"
    )
    kinds = ("accuracy", "efficiency", "state")
    kind_help = "default: efficiency if there are only such records, else accuracy"
    kind = one_of("kind", kinds)
    parser.add_argument(
        "--kind", type=kind, metavar="KIND", help=f"{', '.join(kinds)}; {kind_help}"
    )
    names = ("markdown", "csv", "json", "latex", "html")
    style = one_of("format", names, md="markdown", tex="latex", htm="html")
    format_help = f"{', '.join(names)}; default: markdown, on a terminal a table of its width"
    parser.add_argument("--format", type=style, metavar="NAME", help=format_help)
    published_help = "add published figures, each with its source; without DIR, show only these"
    parser.add_argument("--published", action="store_true", help=published_help)
    pair_help = "two attentions, named as in the tables, or two folders"
    parser.add_argument("--compare", nargs=2, type=compared, metavar=("A", "B"), help=pair_help)
    mix_help = "efficiency only: put machines in one table"
    parser.add_argument("--mix-machines", action="store_true", help=mix_help)
    figure_help = f"with --kind state: also draw the figure, as {', '.join(_PICTURES)}"
    parser.add_argument("--figure", type=output_file, metavar="FILE", help=figure_help)
    add_strict(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the tables."""
    del argv
    return strictly(args.strict, lambda: _print(args))


def style() -> str:
    """Return the style of tables that nobody chose: by whether a terminal shows them."""
    from lra_bench.display.tables import TERMINAL

    return TERMINAL if sys.stdout.isatty() else "markdown"


def _print(args: argparse.Namespace) -> int:
    args.format = args.format or style()
    say(_text(args), end="")
    return 0


def _text(args: argparse.Namespace) -> str:
    from lra_bench.errors import UsageError

    if not (args.dirs or args.published or args.compare):
        raise UsageError("name a folder of records, or --published")
    kind = args.kind or _kind(args.dirs)
    if args.figure and kind != "state":
        raise UsageError("--figure works with --kind state only")
    if kind != "accuracy" and args.compare:
        raise UsageError(f"--compare works on accuracies only; leave out --kind {kind}")
    if kind == "efficiency":
        return _efficiency(args)
    if args.mix_machines:
        raise UsageError("--mix-machines works with --kind efficiency only")
    return _state(args) if kind == "state" else _accuracy(args)


def _kind(dirs: Sequence[Path]) -> str:
    """Return the kind of the records; accuracy if there are both kinds."""
    from lra_bench.efficiency import records
    from lra_bench.records.find import find

    only_efficiency = not find(dirs) and records.find(dirs)
    return "efficiency" if only_efficiency else "accuracy"


def _accuracy(args: argparse.Namespace) -> str:
    from lra_bench.leaderboard import published_table
    from lra_bench.leaderboard.compare import compare
    from lra_bench.leaderboard.tables import render
    from lra_bench.records.find import collect

    if args.compare:
        one, other = args.compare
        return compare(args.dirs, one, other, args.format)
    if not args.dirs:
        return published_table.all_of(args.format)
    return render(collect(args.dirs), args.format, with_published=args.published)


def _state(args: argparse.Namespace) -> str:
    from lra_bench.errors import UsageError
    from lra_bench.leaderboard import state
    from lra_bench.records.find import collect

    if not args.dirs or args.published:
        raise UsageError("--kind state needs a folder of records, and has no published figures")
    if args.figure and args.figure.suffix.lower() not in _PICTURES:
        raise UsageError(f"--figure {args.figure}: must end in one of {', '.join(_PICTURES)}")
    records = collect(args.dirs)
    if args.figure:
        from lra_bench.display.figures import save
        from lra_bench.leaderboard.state_figure import draw

        save(draw(state.panels(records)), args.figure)
    return state.render(records, args.format)


def _efficiency(args: argparse.Namespace) -> str:
    from lra_bench.efficiency.records import collect
    from lra_bench.scaling.tables import render

    return render(
        collect(args.dirs),
        args.format,
        with_published=args.published,
        mix_machines=args.mix_machines,
    )
