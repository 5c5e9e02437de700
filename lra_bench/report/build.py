"""Make the page and its figures from folders of records."""

import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lra_bench.display import figures
from lra_bench.display.busy import busy
from lra_bench.errors import UsageError
from lra_bench.files.atomic import write_atomically
from lra_bench.report import (
    ablations,
    approximation,
    bubbles,
    compare,
    curves,
    downloads,
    efficiency,
    leaderboard,
    mechanisms,
    provenance,
    settings,
    summary,
)
from lra_bench.report.figure import NamedFigure, numbered
from lra_bench.report.inputs import Choose, Inputs, RunTable, gather
from lra_bench.report.markup import Html
from lra_bench.report.page import MADE_BY, Section, Top, page
from lra_bench.report.styles import Styles, styles
from lra_bench.scaling import groups, rows

FILE = "index.html"
TITLE = "Efficient attention, measured"


def write(
    folders: Sequence[Path],
    out: Path,
    *,
    with_published: bool,
    title: str = TITLE,
    choose: Choose = list,
) -> list[Path]:
    """Write the page and its figures.

    Args:
        folders: searched for records.
        out: folder for the page and its figures.
        with_published: whether to add published figures.
        title: of the page.
        choose: returns the records to show, of all records of runs and of efficiency.

    Returns:
        The files that were written, the page first.

    Raises:
        UsageError: a folder is missing, there is no record at all, or another page is in `out`.
    """
    _require_own(out / FILE)
    with busy("reading the records") as say:
        inputs = gather(folders, choose)
        out.mkdir(parents=True, exist_ok=True)
        say("making the page")
        content = compose(inputs, with_published=with_published)
    presets = list(dict.fromkeys(run_table.preset for run_table in inputs.tables))
    top = Top(title, _today(), lead(inputs), content.results, content.first)
    write_atomically(out / FILE, numbered(page(top, presets, content.sections)))
    written = [out / FILE]
    for number, drawn in enumerate(content.figures, 1):
        doing = f"drawing figure {number} of {len(content.figures)}"
        written += figures.save_each(drawn.figure, out / f"{drawn.name}.png", doing)
    return written


def _require_own(file: Path) -> None:
    """Raise UsageError if a page is there that no report has written."""
    if file.is_file() and MADE_BY not in file.read_text(errors="replace"):
        raise UsageError(f"{file} is there already, and not by lra-bench; choose another --out")


def _today() -> datetime.date:
    """Return the date in UTC; that of SOURCE_DATE_EPOCH, in seconds, if it is set."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(given) if given.isdecimal() else time.time()
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date()


@dataclass(frozen=True)
class Content:
    """The content of the page.

    Attributes:
        sections: those that there are records for.
        figures: all, to be written beside the page.
        results: sentences on what the records show.
        first: the figure above the sections; None if there is none.
    """

    sections: list[Section]
    figures: list[NamedFigure]
    results: list[str]
    first: Html | None


def compose(inputs: Inputs, *, with_published: bool) -> Content:
    """Return what the page shows of the records."""
    measured = rows.from_lines(inputs.lines)
    look, every = styles(inputs.tables, measured), groups.groups(measured)
    of_runs, images = _of_runs(inputs.tables, look, with_published=with_published)
    costs = efficiency.efficiency(every, look, with_published=with_published)
    variants, trained = ablations.section(inputs.runs)
    studies, others = approximation.section(inputs.studies)
    attentions = _attentions(inputs)
    pages = [
        *costs.sections,
        *_section("ablations", "Ablations", variants),
        *_section("approximation", "Approximation", studies if inputs.studies else None),
        *_section("compare", "Compare two results", compare.section(inputs.tables)),
        *_section("mechanisms", "Mechanisms", mechanisms.section(attentions, inputs.tables)),
        *_section("settings", "Settings", settings.section(inputs.tables)),
        *_section("downloads", "Data and citation", downloads.section(inputs, attentions)),
        *_section("provenance", "Where this comes from", provenance.section(inputs)),
    ]
    drawn = [*images, *costs.figures, *trained, *others]
    results = summary.sentences(inputs.tables, every)
    return Content([*of_runs, *pages], drawn, results, costs.first)


def _section(name: str, title: str, body: Html | None) -> list[Section]:
    """Return a section in a list; an empty list if there is nothing to show."""
    return [Section(name, title, body)] if body else []


def _of_runs(
    tables: list[RunTable], look: Styles, *, with_published: bool
) -> tuple[list[Section], list[NamedFigure]]:
    """Return the sections on accuracy, and their figures; nothing without tables."""
    if not tables:
        return [], []
    accuracy = leaderboard.section(tables, with_published=with_published)
    charts, images = bubbles.section(tables, look)
    lines, more = curves.section(tables, look)
    sections = [
        *_section("accuracy", "Accuracy", accuracy),
        *_section("bubbles", "Accuracy, speed and memory", charts),
        *_section("curves", "Learning curves", lines),
    ]
    return sections, [*images, *more]


def _attentions(inputs: Inputs) -> list[str]:
    """Return the names of all attentions in the records, sorted."""
    names = [run.attention for run in inputs.runs]
    return sorted({*names, *(line.cell.attention for line in inputs.lines)})


def lead(inputs: Inputs) -> str:
    """Return the sentence that says how many records the page is made of."""
    counts = [
        _runs(inputs) if inputs.runs else "",
        _count(len(inputs.lines), "record") + " of efficiency" if inputs.lines else "",
        _count(len(inputs.studies), "study") if inputs.studies else "",
    ]
    return f"{'; '.join(filter(None, counts))}."


def _runs(inputs: Inputs) -> str:
    tasks = {run.task for run in inputs.runs}
    runs, attentions = len(inputs.runs), len({run.attention for run in inputs.runs})
    of = f"of {_count(attentions, 'attention')} on {_count(len(tasks), 'task')}"
    return f"{_count(runs, 'run')} {of}"


def _count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 run" or "2 studies"."""
    if number == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {plural}"
