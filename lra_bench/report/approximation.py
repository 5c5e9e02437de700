"""The section on how well features approximate softmax, by `lra-bench analyze approximation`."""

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
# Columns that the files must have; those in _WORDS are text, the others are numbers.
_COLUMNS = {"scale", "variant", "num_features", "mse", "sd", "draws"}
_CLAIM_COLUMNS = {
    "scale",
    "claim",
    "features_of_worse",
    "holds",
    "standard_errors",
    "geometric_ratio",
}
_WORDS = {"variant", "claim", "holds"}
_FACTS = {"length": "L = {:,}", "dim": "d = {:,}"}


@dataclass(frozen=True)
class Study:
    """The results of one study.

    Attributes:
        folder: with its files.
        summary: errors, with a row for each scale, variant and number of features.
        claims: which variant errs less; None without such a file.
        setup: settings of the study by name; empty without such a file.
    """

    folder: Path
    summary: pd.DataFrame
    claims: pd.DataFrame | None
    setup: dict[str, Any]

    @property
    def facts(self) -> str:
        """Return the setup in short, such as "L = 4,096, d = 16, 15 draws"."""
        values = {key: self.setup.get(key) for key in _FACTS}
        facts = [_FACTS[key].format(x) for key, x in values.items() if isinstance(x, int)]
        return ", ".join([*facts, f"{self.summary['draws'].max():,} draws"])


def find(folders: Sequence[Path]) -> list[Path]:
    """Return the files of studies below the folders, each once; see `files_below`.

    Raises:
        UsageError: a folder is missing.
    """
    return files_below(folders, FILE)


def read(path: Path) -> Study | None:
    """Return the study whose errors a file holds; None if it cannot be read."""
    summary = _frame(path, _COLUMNS)
    if summary is None:
        return None
    claims_file = path.with_name(CLAIMS)
    claims = _frame(claims_file, _CLAIM_COLUMNS) if claims_file.exists() else None
    return Study(path.parent, summary, claims, _setup(path.with_name(SETUP)))


def _frame(path: Path, columns: set[str]) -> pd.DataFrame | None:
    """Return the table in a file; None if it is of another kind, with a message."""
    try:
        table = pd.read_csv(path)
        if not columns <= set(table.columns) or table.empty:
            raise ValueError("not a table of this kind")
        if not all(pd.api.types.is_numeric_dtype(table[name]) for name in columns - _WORDS):
            raise ValueError("not all numbers")
    except (OSError, ValueError) as error:
        leave_out(f"{path}: {error}")
        return None
    return table


def _setup(path: Path) -> dict[str, Any]:
    try:
        setup = read_json(path)
    except (OSError, ValueError):
        return {}
    return setup if isinstance(setup, dict) else {}


def section(studies: Sequence[Study]) -> tuple[Html, list[figure.NamedFigure]]:
    """Return a part for each study, and the figures."""
    parts, images = [], []
    for number, study in enumerate(studies, 1):
        name = "approximation" + (f"-{number}" if len(studies) > 1 else "")
        image = figure.NamedFigure(name, plots.approximation_figure(study.summary, study.facts))
        images.append(image)
        parts.append(_part(study, image, titled=len(studies) > 1))
    return joined(parts, "\n"), images


def _part(study: Study, image: figure.NamedFigure, *, titled: bool) -> Html:
    title = f"Error of FAVOR+'s output against exact softmax attention, {study.facts}"
    scales = list(dict.fromkeys(study.summary["scale"]))
    return joined([
        tag("h3", study.folder.name) if titled else None,
        figure.shown(image, title, f"{title}: mean and sd over draws."),
        *(_errors(study.summary.query("scale == @scale"), scale) for scale in scales),
        None if study.claims is None else _claims(study.claims),
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
    """Return the table of which variant errs less, and how sure that is."""
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
    """Return the command that repeats a study; None if its setup is not known."""
    if not _FLAGS.keys() <= study.setup.keys():
        return None
    words = ["lra-bench analyze approximation --out DIR"]
    for key, flag in _FLAGS.items():
        value = study.setup[key]
        words.append(f"{flag} {','.join(map(str, value)) if isinstance(value, list) else value}")
    words += ["--redraw"] if study.setup.get("redraw") else []
    return tag("pre", tag("code", " ".join(words)), class_="command")
