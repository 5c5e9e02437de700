"""The section that shows two results beside each other, as the reader chooses."""

from collections.abc import Sequence

from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, joined, tag


def section(tables: Sequence[RunTable]) -> Html | None:
    """Return two lists of all results, which the script fills a table from; None for fewer.

    A choice is the id of the card behind a cell of the leaderboard.
    """
    options = [
        tag("option", f"{result.attention} on {result.task}, {run_table.title}",
            value=run_table.card_ids[result.attention, result.task],
            data_task=f"{result.task}, {run_table.title}")
        for run_table in tables
        for result in run_table.results
    ]  # fmt: skip
    if len(options) < 2:
        return None
    lists = [
        tag("label", f"{which} ", tag("select", *options, id=f"compare-{which}"))
        for which in ("first", "second")
    ]
    form = tag("form", *lists, id="compare-choice", class_="choices", hidden=True)
    shown = tag("div", id="compare-shown", aria_live="polite")
    note = tag("noscript", tag("p", "This part needs scripts."))
    return joined([form, shown, note], "\n")
