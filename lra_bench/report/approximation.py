"""The section on how well features approximate softmax, by `lra-bench analyze approximation`."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench.analysis import plots
from lra_bench.display.command import command
from lra_bench.display.escape import terminal
from lra_bench.errors import one_line
from lra_bench.files.json_files import read_json
from lra_bench.files.regular import read_bytes
from lra_bench.records.find import files_below, leave_out
from lra_bench.records.values import group, is_number, is_whole
from lra_bench.report import figure
from lra_bench.report.markup import Html, joined, table, tag

FILE, CLAIMS, SETUP = "approximation.csv", "claims.csv", "approximation.json"
# Columns that the files must have; those in _WORDS are text, the others are numbers.
_COLUMNS = {"scale", "variant", "num_features", "mse", "sd", "draws"}
# Files of older versions lack these.
_GEOMETRIC = {"geometric_mean", "geometric_sd"}
_OPTIONAL = {"log_standard_errors", *_GEOMETRIC}
_CLAIM_COLUMNS = {
    "scale",
    "claim",
    "features_of_worse",
    "holds",
    "standard_errors",
    "geometric_ratio",
}
_WORDS = {"variant", "claim", "holds"}
_POSITIVE = {"num_features", "draws", "mse", *_GEOMETRIC}
# Limits of what is read and drawn.
_MOST_BYTES, _MOST_ROWS = 2**20, 2_000
_MOST = {"scale": 8, "variant": 30, "num_features": 30}
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
        facts = [_FACTS[key].format(x) for key, x in values.items() if is_whole(x)]
        return ", ".join([*facts, f"{self.summary['draws'].max():,} draws"])


def find(folders: Sequence[Path]) -> list[Path]:
    """Return the files of studies below the folders, each once; see `files_below`.

    Raises:
        UsageError: a folder is missing.
    """
    return files_below(folders, FILE, closed=leave_out)


def read(path: Path) -> Study | None:
    """Return the study whose errors a file holds; None if it cannot be read."""
    setup = _setup(path.with_name(SETUP))
    summary = _frame(path, _COLUMNS, setup)
    if summary is None:
        return None
    claims_file = path.with_name(CLAIMS)
    claims = _frame(claims_file, _CLAIM_COLUMNS, setup) if os.path.lexists(claims_file) else None
    return Study(path.parent, _with_geometric(summary), claims, setup)


def _with_geometric(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the table of an older version with the mean, and mean + sd over it, in their place."""
    if set(summary.columns) >= _GEOMETRIC:
        return summary
    return summary.assign(
        geometric_mean=summary["mse"], geometric_sd=1 + summary["sd"] / summary["mse"]
    )


def _frame(path: Path, columns: set[str], setup: dict[str, Any]) -> pd.DataFrame | None:
    """Return the table in a file; None if it is of another kind or damaged, with a message."""
    try:
        content = read_bytes(path, _MOST_BYTES)
        _check_sum(content, group(setup.get("sha256")).get(path.name))
        table = pd.read_csv(io.BytesIO(content), dtype=dict.fromkeys(_WORDS, str))
        _check(table, columns)
    except (OSError, ValueError, OverflowError) as error:
        leave_out(f"{path}: {one_line(error)}")
        return None
    return table


def _check_sum(content: bytes, expected: Any) -> None:
    """Check a file against its checksum, which files of old versions lack."""
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise ValueError("does not match its checksum: changed after it was written")


def _check(table: pd.DataFrame, columns: set[str]) -> None:
    """Check what the tables and the figure rely on.

    Raises:
        ValueError: the message says what is wrong.
    """
    if not columns <= set(table.columns) or table.empty:
        raise ValueError("not a table of this kind")
    kinds = {name: table[name].nunique() for name in _MOST if name in columns}
    if len(table) > _MOST_ROWS or any(kinds[name] > _MOST[name] for name in kinds):
        raise ValueError("too large for a figure")
    for name in (columns | _OPTIONAL & set(table.columns)) - _WORDS:
        if not all(map(is_number, table[name].tolist())):
            raise ValueError(f"{name}: not all numbers")
        if name in _POSITIVE and (table[name].to_numpy() <= 0).any():
            raise ValueError(f"{name}: not all above 0")
    if table[list(columns & _WORDS)].isna().to_numpy().any():
        raise ValueError("a name is missing")


def _setup(path: Path) -> dict[str, Any]:
    """Return the settings in a file; {} if there is none, or if it is named and left out."""
    try:
        return group(read_json(path, _MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        leave_out(f"{path}: {one_line(error)}")
        return {}


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
        tag("h3", terminal(study.folder.name)) if titled else None,
        figure.shown(image, title, f"{title}: geometric mean and sd over draws."),
        *(_errors(study.summary.query("scale == @scale"), scale) for scale in scales),
        None if study.claims is None else _claims(study.claims),
        _command(study),
    ])  # fmt: skip


def _errors(part: pd.DataFrame, scale: float) -> Html:
    features = sorted(set(part["num_features"]))
    cells = {
        (
            row["variant"],
            row["num_features"],
        ): f"{row['geometric_mean']:.2e} (x{row['geometric_sd']:.2g})"
        for row in part.to_dict("records")
    }
    body = [
        [name, *(cells.get((name, m), "") for m in features)]
        for name in dict.fromkeys(part["variant"])
    ]
    title = (
        f"MSE of the output, entries of q and k of standard deviation {scale:g}: geometric mean "
        "(factor of one sd)"
    )
    head = ["variant", *(f"m = {m:,}" for m in features)]
    return joined([tag("h4", title), table(head, body, caption=title)])


def _claims(claims: pd.DataFrame) -> Html:
    """Return the table of which variant errs less, and how sure that is."""
    body = [_claim(row) for row in claims.to_dict("records")]
    head = ["claim", "sd of q, k", "m", "holds", "standard errors", "ratio of errors"]
    title = "Which errs less"
    note = (
        "Standard errors by which the mean log of the ratio exceeds 0, paired over draws; "
        "geometric mean of ratios."
    )
    return joined([tag("h4", title), table(head, body, caption=title), tag("p", note)])


def _claim(row: dict[Any, Any]) -> list[str]:
    sizes = [f"{row['scale']:g}", f"{row['features_of_worse']:,}"]
    sigmas = row.get("log_standard_errors", row["standard_errors"])
    figures = [f"{sigmas:+.1f}", f"{row['geometric_ratio']:.3g}"]
    return [str(row["claim"]), *sizes, "yes" if row["holds"] == "True" else "no", *figures]


_FLAGS = {"length": "--length", "dim": "--dim", "draws": "--draws", "features": "--features",
          "scales": "--scales", "seed": "--seed"}  # fmt: skip


def _command(study: Study) -> Html | None:
    """Return the command that repeats a study; None if its setup is not known."""
    if not _FLAGS.keys() <= study.setup.keys():
        return None
    words = ["analyze", "approximation", "--out", "DIR"]
    for key, flag in _FLAGS.items():
        value = study.setup[key]
        words += [flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    words += ["--redraw"] if study.setup.get("redraw") else []
    return tag("pre", tag("code", command(*words)), class_="command")
