"""lra-bench table: run records to tables."""

import argparse
from pathlib import Path

NAME = "table"
HELP = "make tables from run records"
DESCRIPTION = """\
Compile the records below each DIR into tables, one for each preset: mean and standard deviation
over seeds, parameters, speed, and the accuracy that chance gives.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help="searched for records")
    parser.add_argument("--kind", choices=("accuracy",), default="accuracy")
    formats = ("markdown", "csv", "latex", "html")
    parser.add_argument("--format", choices=formats, default="markdown")
    shown = "add published figures, each with its source"
    parser.add_argument("--published", action="store_true", help=shown)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the tables."""
    del argv
    from lra_bench.leaderboard import collect, render

    print(render(collect(args.dirs), args.format, with_published=args.published), end="")
    return 0
