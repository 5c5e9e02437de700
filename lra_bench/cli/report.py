"""The command `lra-bench report` shows all records on one HTML page."""

import argparse

from lra_bench.cli.common import add_strict, strictly
from lra_bench.cli.paths import output_folder, records_path
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal

NAME = "report"
HELP = "make one HTML page of tables and figures"
DESCRIPTION = """\
Make one HTML page from the records below each DIR: the leaderboard, with the seeds, settings and
command behind each cell; accuracy against speed and memory; learning curves; tables and figures of
efficiency; results of `lra-bench analyze approximation`; a part for each attention; and the data,
machines and versions of all records. The page loads no other file. Its figures are also written
beside it, as PNG files.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "dirs", nargs="+", type=records_path, metavar="DIR", help="searched for records"
    )
    out_help = "folder for index.html and the figures"
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help=out_help)
    published_help = "add published figures, each with its source"
    parser.add_argument("--published", action="store_true", help=published_help)
    add_strict(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Write the page."""
    del argv
    return strictly(args.strict, lambda: _write(args))


def _write(args: argparse.Namespace) -> int:
    from lra_bench.report.build import write

    for path in write(args.dirs, args.out, with_published=args.published):
        say(terminal(path))
    return 0
