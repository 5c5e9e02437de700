"""Make the page and its figures from folders of records."""

from collections.abc import Sequence
from pathlib import Path

from lra_bench.display import figures
from lra_bench.files.atomic import write_atomically
from lra_bench.report import (
    ablations,
    approximation,
    bubbles,
    curves,
    efficiency,
    leaderboard,
    mechanisms,
    provenance,
)
from lra_bench.report.figure import NamedFigure
from lra_bench.report.inputs import Inputs, RunTable, gather
from lra_bench.report.page import Section, page
from lra_bench.report.styles import Styles, styles
from lra_bench.scaling import rows

FILE = "index.html"
_TITLE = "Efficient attention, measured"


def write(folders: Sequence[Path], out: Path, *, with_published: bool) -> list[Path]:
    """Write the page and its figures.

    Args:
        folders: searched for records.
        out: folder for the page and its figures.
        with_published: whether to add published figures.

    Returns:
        The files that were written, the page first.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    inputs = gather(folders)
    out.mkdir(parents=True, exist_ok=True)
    sections, drawn = compose(inputs, with_published=with_published)
    presets = list(dict.fromkeys(run_table.preset for run_table in inputs.tables))
    write_atomically(out / FILE, page(_TITLE, lead(inputs), presets, sections))
    images = [figures.save_each(image.figure, out / f"{image.name}.png") for image in drawn]
    return [out / FILE, *(file for files in images for file in files)]


def compose(inputs: Inputs, *, with_published: bool) -> tuple[list[Section], list[NamedFigure]]:
    """Return the sections that there are records for, and all figures."""
    measured = rows.from_lines(inputs.lines)
    look = styles(inputs.tables, measured)
    of_runs, images = _of_runs(inputs.tables, look, with_published=with_published)
    costs, more = efficiency.sections(measured, look, with_published=with_published)
    variants, trained = ablations.section(inputs.runs)
    studies, others = approximation.section(inputs.studies)
    attentions = _attentions(inputs)
    about = mechanisms.section(attentions, inputs.tables)
    sections = [
        *of_runs,
        *costs,
        *([Section("ablations", "Ablations", variants)] if variants else []),
        *([Section("approximation", "Approximation", studies)] if studies else []),
        *([Section("mechanisms", "Mechanisms", about)] if attentions else []),
        Section("provenance", "Where this comes from", provenance.section(inputs)),
    ]
    return sections, [*images, *more, *trained, *others]


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
        Section("accuracy", "Accuracy", accuracy),
        Section("bubbles", "Accuracy, speed and memory", charts),
        *([Section("curves", "Learning curves", lines)] if lines else []),
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
    runs, attentions = len(inputs.runs), len(_attentions(inputs))
    of = f"of {_count(attentions, 'attention')} on {_count(len(tasks), 'task')}"
    return f"{_count(runs, 'run')} {of}"


def _count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 run" or "2 studies"."""
    if number == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {plural}"
