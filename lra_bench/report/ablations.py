"""The section on the ablations of the Performer paper, by `lra-bench ablate`."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lra_bench.ablation import figure as drawing
from lra_bench.ablation import studies, table
from lra_bench.ablation.studies import Ablation
from lra_bench.ablation.variants import Variant
from lra_bench.records.record import Record
from lra_bench.report import figure
from lra_bench.report.markup import Html, joined, tag

# Each makes a study whose columns name the variant of any run of it.
_STUDIES = {
    "kernels": studies.kernels,
    "redraw": lambda: studies.redraw(()),
    "stability": studies.stability,
}


def section(runs: Sequence[Record]) -> tuple[Html | None, list[figure.NamedFigure]]:
    """Return a part for each study, and the figures; None if no run belongs to a study."""
    parts, images = [], []
    for number, ((name, *_), members) in enumerate(sorted(_by_study(runs).items())):
        study, setting = _STUDIES[name](), f"{members[0].task}, preset {members[0].preset}"
        found = _variants(study, members)
        drawn = drawing.figure(study, found, f"{study.title}: {setting}")
        image = figure.NamedFigure(f"ablation-{name}-{number}", drawn)
        shown = figure.shown(image, f"{study.title}: {setting}", _CAPTION)
        parts.append(tag("section", Html(table.render(study, found, setting, "html")), shown))
        images.append(image)
    return (joined(parts, "\n") if parts else None), images


_CAPTION = (
    "Training, a line for each run. A point is the mean over the steps since the point before; a "
    "cross marks where a run diverged."
)


def _by_study(runs: Sequence[Record]) -> dict[tuple[str, str, str, str], list[Record]]:
    """Return the runs of studies, by study, folder, task and preset.

    `lra-bench ablate` keeps the runs of a study in DIR/STUDY, beside the table DIR/STUDY.md.
    """
    found: dict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.seed):
        folder = _folder(run.path)
        if folder is not None:
            found[folder.name, str(folder), run.task, run.preset].append(run)
    return found


def _folder(path: Path | None) -> Path | None:
    """Return the folder of the study that a record belongs to; None if it belongs to none."""
    if path is None:
        return None
    folder = path.resolve().parent.parent
    is_study = folder.name in _STUDIES and folder.with_name(f"{folder.name}.md").is_file()
    return folder if is_study else None


def _variants(study: Ablation, runs: Sequence[Record]) -> list[Variant]:
    """Return the variants of the runs, by name."""
    found: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for run in runs:
        found[study.texts(run.config)].append(run)
    return [Variant(texts, tuple(members)) for texts, members in sorted(found.items())]
