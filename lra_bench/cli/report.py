"""lra-bench report: all records on one page."""

import argparse
from pathlib import Path

NAME = "report"
HELP = "make one HTML page of tables and figures"
DESCRIPTION = """\
Compile the records below each DIR into one HTML page: the leaderboard, with the seeds, settings and
command behind each cell; accuracy against speed and memory; learning curves; tables and figures of
efficiency; what `lra-bench analyze approximation` found; a part for each mechanism; and where all
this comes from. The page needs nothing from elsewhere. Its figures are written beside it as PNG
files too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help="searched for records")
    where = "gets index.html and the figures"
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=where)
    shown = "add published figures, each with its source"
    parser.add_argument("--published", action="store_true", help=shown)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Write the page."""
    del argv
    from lra_bench.report.build import write

    for path in write(args.dirs, args.out, with_published=args.published):
        print(path)
    return 0
