"""lra-bench table: records to tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

NAME = "table"
HELP = "make tables from records"
DESCRIPTION = """\
Compile the records below each DIR into tables. Accuracy: one for each preset, mean and standard
deviation over seeds, averages over tasks, parameters, speed, and the accuracy that chance gives;
in bold what is significantly the best. Efficiency: time, memory, speed-ups, and how they grow with
the length, for each setting and machine.
--compare A B tells where two attentions differ significantly, and by how much; without DIR, where
two folders of records do.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dirs", nargs="*", type=Path, metavar="DIR", help="searched for records")
    kind = "default: accuracy, or efficiency where there are records of that only"
    parser.add_argument("--kind", choices=("accuracy", "efficiency"), help=kind)
    formats = ("markdown", "csv", "json", "latex", "html")
    parser.add_argument("--format", choices=formats, default="markdown")
    shown = "add published figures, each with its source; without DIR, these alone"
    parser.add_argument("--published", action="store_true", help=shown)
    pair = "two attentions as the tables call them, or two folders"
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help=pair)
    mixed = "efficiency: machines may share a table"
    parser.add_argument("--mix-machines", action="store_true", help=mixed)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the tables."""
    del argv
    print(_text(args), end="")
    return 0


def _text(args: argparse.Namespace) -> str:
    from lra_bench.errors import UsageError

    if not (args.dirs or args.published or args.compare):
        raise UsageError("name a folder of records, or --published")
    if (args.kind or _kind(args.dirs)) == "efficiency":
        if args.compare:
            raise UsageError("--compare is of accuracies")
        return _efficiency(args)
    if args.mix_machines:
        raise UsageError("--mix-machines goes with --kind efficiency")
    return _accuracy(args)


def _kind(dirs: Sequence[Path]) -> str:
    """What there are records of; accuracy where there are of both."""
    from lra_bench.efficiency import records
    from lra_bench.records.find import find

    only = not find(dirs) and records.find(dirs)
    return "efficiency" if only else "accuracy"


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


def _efficiency(args: argparse.Namespace) -> str:
    from lra_bench.efficiency.records import collect
    from lra_bench.scaling.tables import render

    mixed, shown = args.mix_machines, args.published
    return render(collect(args.dirs), args.format, with_published=shown, mix_machines=mixed)
