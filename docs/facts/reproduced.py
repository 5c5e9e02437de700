"""Facts of the published row that was reproduced here: ListOps as Nystromformer trained on it."""

from pathlib import Path

from facts.text import rows_of, table
from lra_bench import published
from lra_bench.leaderboard.results import Result, percent, results
from lra_bench.records import find
from lra_bench.report.curves import curve

_TASK = "listops"
# What benchmarks/listops_guess.py wrote.
_GUESSES = Path("results/listops-guess")
_GUESS = "the commonest value of the first operator"
# The sources whose figures may be compared, and their names in the documents. Only the code of the
# first one has this setting.
_SOURCES = {"nystromformer": "Nystromformer", "skyformer": "Skyformer"}
# Above this validation accuracy a model has left the plateau on which all begin.
_LEFT = 0.25


def reproduced_table() -> str:
    """Return a table of test accuracy here and in two sources, a row for each mechanism.

    A difference is the accuracy here minus the published one, in points.
    """
    rows = results(find.collect([Path("results/nystromformer")]))
    return table(_row(row) for row in sorted(rows, key=lambda row: -(row.mean or 0)))


def _row(row: Result) -> dict[str, str]:
    here, there = 100 * (row.mean or 0), _published(row.attention)
    beside = {x: f"{there[x]:.2f} ({here - there[x]:+.1f})" for x in there}
    return {
        "attention": f"`{row.attention}`",
        "here, %": percent(row.mean or 0, row.sd),
        "seeds": str(len(row.tests)),
        **{f"{name}, % (difference)": beside.get(x, "") for x, name in _SOURCES.items()},
        "above 25 % by step": _left(row),
        "agrees with the guess, %": _agreement(row.attention),
    }


def guess_table() -> str:
    """Return a table of how often three guesses are right, a row for each."""
    names = {"train": "training", "validation": "validation", "test": "test"}
    return table(
        {
            "right, %": row["guess"],
            **{name: f"{100 * float(row[x]):.1f}" for x, name in names.items()},
        }
        for row in rows_of(_GUESSES / "guesses.csv")
        if row["brackets"] == "dropped"
    )


def _agreement(attention: str) -> str:
    """Return on what share of the test examples a mechanism agrees with the guess, by seeds."""
    shares = [
        100 * float(row["agreement"])
        for row in rows_of(_GUESSES / "agreement.csv")
        if (row["brackets"], row["guess"], row["attention"]) == ("dropped", _GUESS, attention)
        and row["agreement"]
    ]
    ends = [f"{end:.1f}" for end in (min(shares), max(shares))] if shares else []
    return " to ".join(dict.fromkeys(ends))


def _published(attention: str) -> dict[str, float]:
    """Return the figure of each source that has one."""
    rows = published.of(attention, _TASK)
    return {row.source: row.accuracy[_TASK] for row in rows if row.source in _SOURCES}


def _left(row: Result) -> str:
    """Return the step of the first evaluation above the plateau."""
    line = curve(row)
    if line is None:
        return ""
    steps = (step for step, x in zip(line.steps, line.mean, strict=True) if x > _LEFT)
    return next((f"{step:,}" for step in steps), "never")
