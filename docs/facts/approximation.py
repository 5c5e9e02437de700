"""Facts of Fig. 4 of the Performer paper as measured here: where its claims hold."""

from pathlib import Path

import pandas as pd

from facts.text import table

_CLAIMS = {
    "positive: orthogonal against iid": "positive: orthogonal < iid",
    "trigonometric: orthogonal against iid": "trigonometric: orthogonal < iid",
    "orthogonal: positive against trigonometric": "orthogonal: positive < trigonometric",
}
# Entries of q and k have this standard deviation, and 16 features divided by 16^(1/4) each.
_FEATURES, _ROOT = 16, 2


def approximation_table() -> str:
    """Return a table of how many times smaller errors are, a row for each scale and m."""
    claims = pd.read_csv(Path("results/approximation/claims.csv"))
    return table(
        {
            "scale": f"{scale:g}",
            "mean of \\|x\\|^2": f"{_FEATURES * (scale / _ROOT) ** 2:.1f}",
            "m": str(m),
            **{title: _ratio(rows[rows["claim"] == name]) for title, name in _CLAIMS.items()},
        }
        for (scale, m), rows in claims.groupby(["scale", "features_of_worse"], sort=False)
    )


def _ratio(rows: pd.DataFrame) -> str:
    """Return the geometric mean of the ratio of errors, and the standard errors above 1."""
    (row,) = rows.to_dict("records")
    ratio, errors = row["geometric_ratio"], row["log_standard_errors"]
    text = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2f}"
    return f"{text} ({errors:+.1f})"
