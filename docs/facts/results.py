"""Facts of what was measured here and of what others published."""

import math
from collections.abc import Sequence
from pathlib import Path

from facts.text import plain, table
from lra_bench import published
from lra_bench.efficiency import records
from lra_bench.leaderboard.results import Result, results
from lra_bench.records import find
from lra_bench.registry import family_of
from lra_bench.scaling.groups import groups
from lra_bench.scaling.rows import from_lines

# An accuracy that counts as knowing nearly all answers.
_NEARLY_ALL = 0.95


def headline() -> str:
    """Return sentences on how many mechanisms remember, how many see far, and how fast one is."""
    scores = results(find.collect([Path("results/battery")]))
    scores = [x for x in scores if family_of(x.attention) != "bound"]
    known, seen = ([x for x in scores if x.task == task] for task in ("recall", "span"))
    sure = [x for x in known if (x.mean or 0) >= _NEARLY_ALL]
    exact = sum(family_of(x.attention) == "exact" for x in sure)
    unsure = sum(x.failure() is not None for x in known)
    far = sum(not x.at_chance for x in seen)
    length, faster = _fastest_lead()
    return (
        f"{len(known)} of the {len(known) + 1} mechanisms mix tokens (`identity` does not). Each "
        f"was trained in a small model, for {_longest(scores)} minutes at most. "
        "Asked for the value of a key that they have read, "
        f"**{len(sure)}** are right in at least {_NEARLY_ALL:.0%} of cases, {exact} of which are "
        f"forms of exact softmax, and **{unsure}** do no better than a guess. **{far}** relate "
        "tokens that are at least 17 places apart in every run. "
        f"At {length:,} tokens, Performer is **{faster:.0f} times as fast** as the fastest exact "
        "attention, forward and backward, on two CPU cores."
    )


def _longest(scores: Sequence[Result]) -> int:
    """Return the minutes of the longest training, without evaluations, rounded up."""
    runs = [run for result in scores for run in result.runs]
    seconds = [(run.steps or 0) / (run.steps_per_second or math.inf) for run in runs]
    return math.ceil(max(seconds) / 60)


def _fastest_lead() -> tuple[int, float]:
    """Return the longest length on the CPU, and by how much Performer leads exact attention."""
    lines = records.collect([Path("results/efficiency/cpu-attention")])
    (group,) = (g for g in groups(from_lines(lines)) if g.first.direction == "backward")
    seconds = {(row.label, row.length): s for row in group.rows if (s := group.seconds(row))}
    length = max(row.length for row in group.rows)
    exact = min(seconds[row.label, length] for row in group.rows
                if row.exact and (row.label, length) in seconds)  # fmt: skip
    return length, exact / seconds["performer-softmax", length]


def brackets_table() -> str:
    """Return a table of what is known of the brackets of ListOps, a row for each source."""
    names = {"source": "source", "model": "model, if not all", "brackets": "brackets"}
    return table(
        {**{title: plain(row[key]) for key, title in names.items()}, "evidence": row["evidence"]}
        for row in published.brackets()
    )
