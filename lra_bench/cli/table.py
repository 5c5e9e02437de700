"""The command `lra-bench table` makes tables from records."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.cli.chosen import add_choice, chosen, only_efficiency
from lra_bench.cli.common import add_strict, headings, one_of, strictly
from lra_bench.cli.paths import compared, output_file, records_path
from lra_bench.display.busy import say

if TYPE_CHECKING:
    from lra_bench.display.layout import TableLayout
    from lra_bench.records.record import Record

# What matplotlib draws, by the end of a file's name.
_PICTURES = (".png", ".svg", ".pdf")
_FORMATS = ("markdown", "csv", "json", "latex", "html")
_ENDS = {"md": "markdown", "tex": "latex", "htm": "html"}
NAME = "table"
HELP = "make tables from records"
DESCRIPTION = """\
Make tables from the records below each DIR. Tables of accuracy, one for each preset, show mean and
standard deviation over seeds, averages over tasks, parameters, speed, and the accuracy of chance;
what is significantly the best is bold, and (-) marks what is not significantly better than
identity, which is no attention; where tokens are predicted, perplexity or bits too. Tables of
efficiency, for each setting and machine, show time, memory, speed-ups, and how they grow with the
length. Tables of state, for each setting and task, show accuracy beside the bytes that a mechanism
keeps of a sequence; --figure draws them.

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
    style = one_of("format", _FORMATS, **_ENDS)
    format_help = (
        f"{', '.join(_FORMATS)}; default: by the end of --out, else markdown, on a terminal"
    )
    format_help += " a table of its width"
    parser.add_argument("--format", type=style, metavar="NAME", help=format_help)
    published_help = "add published figures, each with its source; without DIR, show only these"
    parser.add_argument("--published", action="store_true", help=published_help)
    pair_help = "two attentions, named as in the tables, or two folders"
    parser.add_argument("--compare", nargs=2, type=compared, metavar=("A", "B"), help=pair_help)
    mix_help = "efficiency only: put machines in one table"
    parser.add_argument("--mix-machines", action="store_true", help=mix_help)
    figure_help = f"with --kind state: also draw the figure, as {', '.join(_PICTURES)}"
    parser.add_argument("--figure", type=output_file, metavar="FILE", help=figure_help)
    _add_layout(parser)
    add_strict(parser)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose rows and columns, and where the tables go."""
    group = parser.add_argument_group("choice and layout")
    add_choice(group)
    add = group.add_argument
    columns_help = "only these columns after the first, in this order; units may be left out"
    add("--columns", type=headings, default=(), metavar="A,B,...", help=columns_help)
    sort_help = "order of the rows: numbers from the largest on, texts from A on, unless :asc or"
    add(
        "--sort", default="", metavar="COLUMN[:asc|:desc]", help=f"{sort_help} :desc says otherwise"
    )
    add("--caption", default="", metavar="TEXT", help="title of the table; before it, of several")
    label_help = "LaTeX only: for \\ref; several tables are numbered"
    add("--label", default="", metavar="NAME", help=label_help)
    out_help = "write the tables to a file; .md, .csv, .json, .tex or .html say the format"
    add("--out", type=output_file, metavar="FILE", help=out_help)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Print the tables."""
    del argv
    return strictly(args.strict, lambda: _print(args))


def style() -> str:
    """Return the style of tables that nobody chose: by whether a terminal shows them."""
    from lra_bench.display.tables import TERMINAL

    return TERMINAL if sys.stdout.isatty() else "markdown"


def _print(args: argparse.Namespace) -> int:
    args.format = args.format or _format_of(args.out)
    text = _text(args)
    if args.out is None:
        say(text, end="")
        return 0
    from lra_bench.display.escape import terminal
    from lra_bench.files.atomic import write_atomically

    write_atomically(args.out, text)
    say(terminal(args.out))
    return 0


def _format_of(file: Path | None) -> str:
    """Return the format that the end of a file's name says.

    Raises:
        UsageError: it says none.
    """
    if file is None:
        return style()
    end = file.suffix[1:].lower()
    form = _ENDS.get(end, end)
    if form not in _FORMATS:
        from lra_bench.errors import UsageError

        ends = ", ".join(f".{end}" for end in ("md", "csv", "json", "tex", "html"))
        raise UsageError(f"--out {file}: must end in one of {ends}, or name the --format")
    return form


def _layout(args: argparse.Namespace) -> "TableLayout":
    """Return the layout that the arguments ask for."""
    from lra_bench.display.layout import TableLayout, check_label
    from lra_bench.errors import UsageError

    label = check_label(args.label)
    if label and args.format != "latex":
        raise UsageError("--label is for LaTeX; name --format latex, or an --out that ends in .tex")
    return TableLayout(args.columns, args.sort, args.caption, label)


def _records(args: argparse.Namespace) -> "list[Record]":
    """Return the records of runs that the arguments choose.

    Raises:
        UsageError: there is none of an attention or of a task.
    """
    from lra_bench.records.find import collect

    return chosen(args, collect(args.dirs))


def _text(args: argparse.Namespace) -> str:
    from lra_bench.errors import UsageError

    if not (args.dirs or args.published or args.compare):
        raise UsageError("name a folder of records, or --published")
    kind = args.kind or ("efficiency" if only_efficiency(args.dirs) else "accuracy")
    if kind == "efficiency" and not args.dirs:
        raise UsageError("--kind efficiency needs a folder of records")
    if args.compare and args.published:
        raise UsageError("--compare is of records, and has no published figures")
    if args.figure and kind != "state":
        raise UsageError("--figure works with --kind state only")
    if kind != "accuracy" and args.compare:
        raise UsageError(f"--compare works on accuracies only; leave out --kind {kind}")
    if kind == "efficiency":
        return _efficiency(args)
    if args.mix_machines:
        raise UsageError("--mix-machines works with --kind efficiency only")
    return _state(args) if kind == "state" else _accuracy(args)


def _accuracy(args: argparse.Namespace) -> str:
    from lra_bench.errors import UsageError
    from lra_bench.leaderboard import published_table
    from lra_bench.leaderboard.compare import compare
    from lra_bench.leaderboard.tables import render

    if (args.attentions or args.tasks) and (args.compare or not args.dirs):
        raise UsageError("--attentions and --tasks choose among the records below a DIR")
    if args.compare:
        one, other = args.compare
        return compare(args.dirs, one, other, args.format, _layout(args))
    layout = _layout(args)
    if not args.dirs:
        return published_table.all_of(args.format, layout)
    runs = _records(args)
    return render(runs, args.format, with_published=args.published, layout=layout)


def _state(args: argparse.Namespace) -> str:
    from lra_bench.errors import UsageError
    from lra_bench.leaderboard import state

    if not args.dirs or args.published:
        raise UsageError("--kind state needs a folder of records, and has no published figures")
    if args.figure and args.figure.suffix.lower() not in _PICTURES:
        raise UsageError(f"--figure {args.figure}: must end in one of {', '.join(_PICTURES)}")
    records = _records(args)
    if args.figure:
        from lra_bench.display.figures import save
        from lra_bench.leaderboard.state_figure import draw

        save(draw(state.panels(records)), args.figure)
    return state.render(records, args.format, _layout(args))


def _efficiency(args: argparse.Namespace) -> str:
    from lra_bench.efficiency.records import collect
    from lra_bench.scaling.tables import render

    return render(
        chosen(args, collect(args.dirs)),
        args.format,
        with_published=args.published,
        mix_machines=args.mix_machines,
        layout=_layout(args),
    )
