"""Facts of Fig. 4 of the Performer paper as measured here: where its claims hold."""

import json
from pathlib import Path

from facts.text import rows_of, table

_FOLDER = Path("results/approximation")
_CLAIMS = {
    "positive: orthogonal against iid": "positive: orthogonal < iid",
    "trigonometric: orthogonal against iid": "trigonometric: orthogonal < iid",
    "orthogonal: positive against trigonometric": "orthogonal: positive < trigonometric",
}


def approximation_table() -> str:
    """Return a table of how many times smaller errors are, a row for each scale and m."""
    dim = json.loads((_FOLDER / "approximation.json").read_text())["dim"]
    # Entries of this deviation are divided by d^(1/4), so |x|^2 is d scale^2 / sqrt(d) on average.
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows_of(_FOLDER / "claims.csv"):
        place = row["scale"], row["features_of_worse"]
        cells.setdefault(place, {})[row["claim"]] = _ratio(row)
    return table(
        {
            "scale": f"{float(scale):g}",
            "mean of \\|x\\|^2": f"{dim**0.5 * float(scale) ** 2:.1f}",
            "m": m,
            **{title: found[name] for title, name in _CLAIMS.items()},
        }
        for (scale, m), found in cells.items()
    )


def _ratio(row: dict[str, str]) -> str:
    """Return the geometric mean of the ratio of errors, and the standard errors above 1."""
    ratio, errors = float(row["geometric_ratio"]), float(row["log_standard_errors"])
    text = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2f}"
    return f"{text} ({errors:+.1f})"
