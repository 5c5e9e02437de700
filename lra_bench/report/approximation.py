"""How well features approximate softmax: what `lra-bench analyze approximation` wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench.analysis import plots
from lra_bench.files import read_json
from lra_bench.records.find import files_below, leave_out
from lra_bench.report import figure
from lra_bench.report.markup import Html, joined, table, tag

FILE, CLAIMS, SETUP = "approximation.csv", "claims.csv", "approximation.json"
_COLUMNS = {"scale", "variant", "num_features", "mse", "sd", "draws"}
_CLAIMED = {"scale", "claim", "features_of_worse", "holds", "standard_errors", "geometric_ratio"}
_WORDS = {"variant", "claim", "holds"}
_FACTS = {"length": "L = {:,}", "dim": "d = {:,}"}


@dataclass(frozen=True)
class Study:
    """One folder of results.

    Attributes:
        folder: as found.
        summary: errors, a row a scale, variant and number of projections.
        claims: which variant errs less; None where that isn't there.
        setup: of the study, as far as it is known.
    """

    folder: Path
    summary: pd.DataFrame
    claims: pd.DataFrame | None
    setup: dict[str, Any]

    @property
    def facts(self) -> str:
        """Such as "L = 4,096, d = 16, 15 draws"."""
        known = {key: self.setup.get(key) for key in _FACTS}
        said = [_FACTS[key].format(x) for key, x in known.items() if isinstance(x, int)]
        return ", ".join([*said, f"{self.summary['draws'].max():,} draws"])


def find(folders: Sequence[Path]) -> list[Path]:
    """Return the files of studies below the folders, each once; see `files_below`.

    Raises:
        UsageError: a folder is missing.
    """
    return files_below(folders, FILE)


def read(path: Path) -> Study | None:
    """The study that a file is of; None if it can't be read."""
    summary = _frame(path, _COLUMNS)
    if summary is None:
        return None
    claims = path.with_name(CLAIMS)
    known = _frame(claims, _CLAIMED) if claims.exists() else None
    return Study(path.parent, summary, known, _setup(path.with_name(SETUP)))


def _frame(path: Path, columns: set[str]) -> pd.DataFrame | None:
    """The table in a file; None, said on standard error, if it is none of this kind."""
    try:
        found = pd.read_csv(path)
        if not columns <= set(found.columns) or found.empty:
            raise ValueError("not a table of this kind")
        if not all(pd.api.types.is_numeric_dtype(found[name]) for name in columns - _WORDS):
            raise ValueError("not all numbers")
    except (OSError, ValueError) as error:
        leave_out(f"{path}: {error}")
        return None
    return found


def _setup(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def section(studies: Sequence[Study]) -> tuple[Html, list[figure.NamedFigure]]:
    """Figures and tables of all studies; and the figures."""
    parts, images = [], []
    for number, study in enumerate(studies, 1):
        name = "approximation" + (f"-{number}" if len(studies) > 1 else "")
        image = figure.NamedFigure(name, plots.approximation_figure(study.summary, study.facts))
        images.append(image)
        parts.append(_study(study, image, titled=len(studies) > 1))
    return joined(parts, "\n"), images


def _study(study: Study, image: figure.NamedFigure, *, titled: bool) -> Html:
    said = f"Error of FAVOR+'s output against exact softmax attention, {study.facts}"
    scales = list(dict.fromkeys(study.summary["scale"]))
    return joined([
        tag("h3", study.folder.name) if titled else None,
        figure.shown(image, said, f"{said}: mean and sd over draws."),
        *(_errors(study.summary.query("scale == @scale"), scale) for scale in scales),
        *([_claims(study.claims)] if study.claims is not None else []),
        _command(study),
    ])  # fmt: skip


def _errors(part: pd.DataFrame, scale: float) -> Html:
    features = sorted(set(part["num_features"]))
    cells = {
        (row["variant"], row["num_features"]): f"{row['mse']:.2e} ± {row['sd']:.0e}"
        for row in part.to_dict("records")
    }
    body = [
        [name, *(cells.get((name, m), "") for m in features)]
        for name in dict.fromkeys(part["variant"])
    ]
    title = f"MSE of the output, entries of q and k of standard deviation {scale:g}"
    head = ["variant", *(f"m = {m:,}" for m in features)]
    return joined([tag("h4", title), table(head, body, caption=title)])


def _claims(claims: pd.DataFrame) -> Html:
    """How sure it is which variant errs less."""
    body = [_claim(row) for row in claims.to_dict("records")]
    head = ["claim", "sd of q, k", "m", "holds", "standard errors", "ratio of errors"]
    title = "Which errs less"
    note = "Standard errors of the mean difference, paired over draws; geometric mean of ratios."
    return joined([tag("h4", title), table(head, body, caption=title), tag("p", note)])


def _claim(row: dict[Any, Any]) -> list[str]:
    sizes = [f"{row['scale']:g}", f"{row['features_of_worse']:,}"]
    figures = [f"{row['standard_errors']:+.1f}", f"{row['geometric_ratio']:.3g}"]
    return [str(row["claim"]), *sizes, "yes" if row["holds"] else "no", *figures]


_FLAGS = {"length": "--length", "dim": "--dim", "draws": "--draws", "features": "--features",
          "scales": "--scales", "seed": "--seed"}  # fmt: skip


def _command(study: Study) -> Html | None:
    """What measures it again, where its setup is known."""
    if not _FLAGS.keys() <= study.setup.keys():
        return None
    words = ["lra-bench analyze approximation --out DIR"]
    for key, flag in _FLAGS.items():
        value = study.setup[key]
        words.append(f"{flag} {','.join(map(str, value)) if isinstance(value, list) else value}")
    words += ["--redraw"] if study.setup.get("redraw") else []
    return tag("pre", tag("code", " ".join(words)), class_="command")
