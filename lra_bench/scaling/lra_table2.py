"""Steps a second and memory in the form of Table 2 of the Long Range Arena (arXiv:2011.04006)."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from lra_bench import published
from lra_bench.registry import REFERENCE
from lra_bench.scaling import grid
from lra_bench.scaling.fits import rank_correlation
from lra_bench.scaling.groups import Comparable
from lra_bench.scaling.rows import Measured

SOURCE = "LRA paper"
_THOUSANDS = (1, 2, 3, 4)
_PAPER_NOTE = (
    f"[{SOURCE}]: Tay et al. 2021, Table 2: byte text of 1K to 4K tokens, batch 32 on 4x4 TPU "
    "v3; other hardware, so compare ratios. Likely misprints there: Synthesizer's speed at 3K, "
    "Linformer's memory at 3K."
)


def as_in_the_paper(group: Comparable, *, with_published: bool) -> list[grid.Table]:
    """Return steps a second and peak memory in the form of the Long Range Arena's Table 2."""
    paper = published.speeds() if with_published and group.by == "length" else ()
    columns, shared = _paper_columns(group) if paper else (_stepped_columns(group), {})

    def with_paper(text: grid.Text, printed: Callable[[Any, int], str]) -> pd.DataFrame:
        rows = [
            {"attention": f"{row.model} [{SOURCE}]"}
            | {columns[length]: printed(row, k) for k, length in shared.items()}
            for row in paper
        ]
        ours = grid.of_texts(group, columns, text).to_dict("records")
        return pd.DataFrame([*ours, *rows]).fillna("")

    def speed(row: Any, k: int) -> str:
        return f"{row.steps_per_second[k]:.1f} ({row.relative[k]:.1f})"

    steps = with_paper(_steps(group), speed)
    memory = with_paper(_gigabytes, lambda row, k: f"{row.gigabytes[k]:.2f}")
    note = _PAPER_NOTE if paper else ""
    how = "By the median wall time." if group.runs else "By the compiler's estimate of the time."
    notes = f"{how} {note} {_agreement(group, shared)}"
    return [
        grid.explained("steps a second (over softmax's)", steps, notes),
        grid.explained("peak memory of a device, GB", memory, f"GB are 10^9 bytes. {note}"),
    ]


def _paper_columns(group: Comparable) -> tuple[dict[Any, str], dict[int, int]]:
    """Return headings by length, the paper's lengths among them, and those by thousands of tokens.

    The paper says 1K, which may be 1,000 or 1,024.
    """
    columns = _stepped_columns(group)
    near = {k: [x for x in (1024 * k, 1000 * k) if x in columns] for k in _THOUSANDS}
    shared = {k: lengths[0] if lengths else 1000 * k for k, lengths in near.items()}
    columns |= {length: f"{length:,}" for length in shared.values()}
    return dict(sorted(columns.items())), shared


def _stepped_columns(group: Comparable) -> dict[Any, str]:
    return grid.headings(group, _step_seconds)


def _step_seconds(row: Measured) -> float | None:
    """Return the seconds of a step: measured by the wall clock, else by the compiler's estimate.

    A table has rows of one kind only.
    """
    return row.wall.median if row.wall else row.estimated_seconds


def _over_softmax(group: Comparable, row: Measured) -> float | None:
    """Return how many times as fast as softmax a step is; None if one of the two is unknown."""
    seconds, key = _step_seconds(row), (row.setting.machine, grid.key(group, row))
    softmax = (
        _step_seconds(other)
        for other in group.rows
        if other.name == REFERENCE and (other.setting.machine, grid.key(group, other)) == key
    )
    base = next(softmax, None)
    return base / seconds if base and seconds else None


def _steps(group: Comparable) -> grid.Text:
    """Return a text of steps a second, with their ratio to those of softmax where that ran."""
    mark = "" if group.runs else "~"

    def text(row: Measured) -> str:
        seconds, ratio = _step_seconds(row), _over_softmax(group, row)
        if not seconds:
            return grid.untimed(row) if group.runs else grid.unestimated(row)
        return mark + grid.digits(1 / seconds) + (f" ({grid.digits(ratio)})" if ratio else "")

    return text


def _agreement(group: Comparable, shared: dict[int, int]) -> str:
    """Return how the ratios to softmax correlate in rank with the paper's, in words.

    The paper's steps a second have the ranks of its ratios before they were rounded.

    Args:
        group: the cells.
        shared: the length that stands for each of the paper's, by thousands of tokens.
    """
    parts = []
    for thousands, length in shared.items():
        pairs = {
            row.name: (ratio, paper.steps_per_second[thousands])
            for row in group.rows
            if row.length == length
            and (paper := published.speed_of(row.name))
            and (ratio := _over_softmax(group, row))
        }
        ours, theirs = zip(*pairs.values(), strict=True) if pairs else ((), ())
        if (value := rank_correlation(ours, theirs)) is not None:
            parts.append(f"{value:.2f} at {length:,} tokens ({', '.join(sorted(pairs))})")
    what = "Spearman's rank correlation of the ratios to softmax with the paper's"
    return f"{what}: {'; '.join(parts)}." if parts else ""


def _gigabytes(row: Measured) -> str:
    """Return the peak memory in units of 10^9 bytes."""
    if not row.memory:
        return grid.untimed(row)
    return ("" if row.measured_bytes else "~") + f"{row.memory / 1e9:.2f}"
