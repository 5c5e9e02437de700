"""The command `lra-bench report` shows all records on one HTML page."""

import argparse
import sys
from pathlib import Path

from lra_bench.cli.chosen import add_choice, chosen
from lra_bench.cli.common import add_strict, strictly
from lra_bench.cli.paths import output_folder, records_path
from lra_bench.display.busy import say
from lra_bench.display.escape import terminal

NAME = "report"
HELP = "make one HTML page of tables and figures"
DESCRIPTION = """\
Make one HTML page from the records below each DIR: the leaderboard, with the seeds, settings and
command behind each cell; accuracy against speed and memory; learning curves; tables and figures of
efficiency; ablations; results of `lra-bench analyze approximation`; a part for each attention; and
the data, machines and versions of all records. Its tables can be sorted and filtered, and saved as
CSV. The page loads no other file. Its figures are also written beside it, as PNG, SVG and PDF
files. --attentions and --tasks choose what the page and its figures show.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "dirs", nargs="+", type=records_path, metavar="DIR", help="searched for records"
    )
    out_help = "folder for index.html and the figures"
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help=out_help)
    add_choice(parser)
    published_help = "add published figures, each with its source"
    parser.add_argument("--published", action="store_true", help=published_help)
    title_help = "of the page; default: Efficient attention, measured"
    parser.add_argument("--title", metavar="TEXT", help=title_help)
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    add_strict(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Write the page."""
    del argv
    return strictly(args.strict, lambda: _write(args))


def _write(args: argparse.Namespace) -> int:
    from lra_bench.report.build import TITLE, write

    title = args.title or TITLE
    page, *figures = write(
        args.dirs,
        args.out,
        with_published=args.published,
        title=title,
        choose=lambda items: chosen(args, items),
    )
    for path in figures:
        say(terminal(path))
    return _show(page, in_browser=args.open)


def _show(page: Path, *, in_browser: bool) -> int:
    """Say where the page is, and open it if asked; return the exit status."""
    address = page.resolve().as_uri()
    if not in_browser:
        say(f"{terminal(page)}: open it with --open, or in a browser: {address}")
        return 0
    import webbrowser

    say(terminal(page))
    if webbrowser.open(address):
        return 0
    print(f"lra-bench: no browser was found; the page is {address}", file=sys.stderr)
    return 1
