"""From folders of records to the page and its figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lra_bench.display import figures
from lra_bench.files import refuse_file, write_atomically
from lra_bench.report import approximation, bubbles, curves, efficiency, leaderboard, mechanisms
from lra_bench.report import provenance as where_from
from lra_bench.report.figure import NamedFigure
from lra_bench.report.inputs import Inputs, gather
from lra_bench.report.page import Section, page
from lra_bench.report.styles import Styles, styles
from lra_bench.scaling import rows

FILE = "index.html"
_TITLE = "Efficient attention, measured"


def write(folders: Sequence[Path], out: Path, *, with_published: bool) -> list[Path]:
    """Write the page and its figures into `out`; what was written, the page first.

    Raises:
        UsageError: `out` is a file, a folder is missing, or there is no record at all.
    """
    refuse_file(out)
    material = gather(folders)
    out.mkdir(parents=True, exist_ok=True)
    sections, drawn = compose(material, with_published=with_published)
    presets = list(dict.fromkeys(setting.preset for setting in material.settings))
    write_atomically(out / FILE, page(_TITLE, lead(material), presets, sections))
    images = [out / f"{image.name}.png" for image in drawn]
    for image, path in zip(drawn, images, strict=True):
        figures.save(image.figure, path)
    return [out / FILE, *images]


def compose(material: Inputs, *, with_published: bool) -> tuple[list[Section], list[NamedFigure]]:
    """The sections that there is something for, and all figures."""
    cells = rows.from_lines(material.lines)
    look = styles(material.settings, cells)
    of_runs, images = _of_runs(material, look, with_published=with_published)
    costs, more = efficiency.sections(cells, look, with_published=with_published)
    studies, others = approximation.section(material.studies)
    names = _attentions(material)
    shown = [
        *of_runs,
        *costs,
        *([Section("approximation", "Approximation", studies)] if studies else []),
        *_mechanisms(names, material),
        Section("provenance", "Where this comes from", where_from.section(material)),
    ]
    return shown, [*images, *more, *others]


def _of_runs(
    material: Inputs, look: Styles, *, with_published: bool
) -> tuple[list[Section], list[NamedFigure]]:
    settings = material.settings
    if not settings:
        return [], []
    table = leaderboard.section(settings, with_published=with_published)
    chart, images = bubbles.section(settings, look)
    lines, more = curves.section(settings, look)
    shown = [
        Section("accuracy", "Accuracy", table),
        Section("bubbles", "Accuracy, speed and memory", chart),
        *([Section("curves", "Learning curves", lines)] if lines else []),
    ]
    return shown, [*images, *more]


def _attentions(material: Inputs) -> list[str]:
    found = [run.attention for run in material.runs]
    return sorted({*found, *(str(line["cell"]["attention"]) for line in material.lines)})


def _mechanisms(names: Iterable[str], material: Inputs) -> list[Section]:
    body = mechanisms.section(names, material.settings)
    return [Section("mechanisms", "Mechanisms", body)] if names else []


def lead(material: Inputs) -> str:
    """What the page is made of."""
    tasks = {run.task for run in material.runs}
    parts = [
        _count(len(material.runs), "run"),
        f"of {_count(len(_attentions(material)), 'attention')}",
        f"on {_count(len(tasks), 'task')}" if tasks else "",
    ]
    more = [_count(len(material.lines), "record") + " of efficiency"] if material.lines else []
    more += [_count(len(material.studies), "study")] if material.studies else []
    first = " ".join(filter(None, parts)) if material.runs else ""
    return f"{'; '.join(filter(None, [first, *more]))}."


def _count(number: int, what: str) -> str:
    ending = "" if number == 1 else "ies" if what.endswith("y") else "s"
    return f"{number:,} {what.removesuffix('y') if ending == 'ies' else what}{ending}"
