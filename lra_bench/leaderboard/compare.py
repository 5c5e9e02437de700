"""Compare two attentions, or two folders of records: where they differ, and by how much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench.display.layout import PLAIN, TableLayout
from lra_bench.display.tables import FOR_PROGRAMS, Sheet, for_programs, render_all
from lra_bench.errors import UsageError, unknown
from lra_bench.leaderboard import holm, significance
from lra_bench.leaderboard.board import AVERAGES, in_order
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result, results
from lra_bench.leaderboard.significance import LEVEL, MIN_SEEDS, Difference
from lra_bench.records.find import collect, leave_out
from lra_bench.records.record import Record


@dataclass(frozen=True)
class Comparison:
    """The comparison of two attentions, or of one in two folders, on a task or an average.

    Attributes:
        setting: in which both were run.
        attention: the label of the one attention, or of both.
        column: a task, or such as "average of 5".
        means: mean accuracies of the first and the second over the seeds that both have, in [0, 1].
        difference: of the first minus the second.
        p: its p-value, corrected for the number of comparisons by Holm's method; None with too few
            seeds for a verdict.
    """

    setting: str
    attention: str
    column: str
    means: tuple[float, float]
    difference: Difference
    p: float | None = None

    @property
    def is_significant(self) -> bool:
        """Return whether the corrected p-value is below 5 %."""
        return self.p is not None and self.p < LEVEL


def compare(
    folders: Sequence[Path], one: str, other: str, style: str, layout: TableLayout = PLAIN
) -> str:
    """Compare two attentions, or two folders of records, in a table.

    Args:
        folders: searched for records of two attentions; empty to compare two folders.
        one, other: labels of the attentions, or the two folders.
        style: "markdown", "latex", "html", "csv" or "json".
        layout: which columns, in which order.

    Raises:
        UsageError: one of them has no records, or they have nothing in common.
    """
    if folders:
        comparisons = list(_attentions(collect(folders), one, other))
    else:
        comparisons = list(_folders(_folder(one), _folder(other)))
    if not comparisons:
        raise UsageError(f"{one} and {other} share no task, setting and seed that ended well")
    comparisons = _corrected(comparisons)
    if style in FOR_PROGRAMS:
        pair = {"first_name": one, "second_name": other}
        table = pd.DataFrame([{**pair, **_figures(part)} for part in comparisons])
        return for_programs(table, style, layout)
    names = _names_of(one, other)
    title, table = _table(f"{one} minus {other}", comparisons, names)
    return render_all(style, [Sheet(title, table, _notes(names, comparisons))], layout)


def _names_of(one: str, other: str) -> tuple[str, str]:
    """Return the names in headings: those of the attentions, or of the folders if they differ."""
    short = Path(one.rstrip("/")).name, Path(other.rstrip("/")).name
    return short if all(short) and short[0] != short[1] else (one, other)


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons with p-values by Holm's method, over those with enough seeds."""
    tested = [index for index, part in enumerate(comparisons) if part.difference.is_tested]
    values = holm.adjusted([comparisons[index].difference.p for index in tested])
    by_index = dict(zip(tested, values, strict=True))
    return [replace(part, p=by_index.get(index)) for index, part in enumerate(comparisons)]


def _folder(name: str) -> Path:
    if not Path(name).exists():
        raise UsageError(
            f"no folder {name}; to compare attentions, name the folder of their records too"
        )
    return Path(name)


def _attentions(records: Sequence[Record], one: str, other: str) -> Iterator[Comparison]:
    groups = {setting: results(group) for setting, group in by_setting(records).items()}
    names = {result.attention for group in groups.values() for result in group}
    for name in (one, other):
        if name not in names:
            raise unknown("attention among the records", name, sorted(names))
    for setting, group in groups.items():
        first, second = (_by_task(group, name) for name in (one, other))
        yield from _comparisons(setting, f"{one}, {other}", first, second)


def _folders(one: Path, other: Path) -> Iterator[Comparison]:
    groups = [by_setting(collect([folder])) for folder in (one, other)]
    for setting in sorted(groups[0].keys() & groups[1].keys()):
        first, second = (results(group[setting]) for group in groups)
        for name in sorted(_names(first) & _names(second)):
            yield from _comparisons(setting, name, _by_task(first, name), _by_task(second, name))
    for setting in sorted(groups[0].keys() ^ groups[1].keys()):
        leave_out(f"preset {setting}: only one of the folders has records of it")


def _names(group: Sequence[Result]) -> set[str]:
    return {result.attention for result in group}


def _by_task(group: Sequence[Result], attention: str) -> dict[str, Result]:
    return {result.task: result for result in group if result.attention == attention}


def _comparisons(
    setting: str, attention: str, first: dict[str, Result], second: dict[str, Result]
) -> Iterator[Comparison]:
    """Yield a comparison for each task that both have, then for averages over only such tasks."""
    by_task: dict[str, Comparison] = {}
    for task in in_order(first.keys() & second.keys()):
        difference = significance.difference(first[task], second[task])
        if difference is not None:
            means = _means(first[task], second[task])
            by_task[task] = Comparison(setting, attention, task, means, difference)
    yield from by_task.values()
    for tasks in AVERAGES.values():
        if set(tasks) <= by_task.keys():
            yield _of_average([by_task[task] for task in tasks])


def _of_average(parts: Sequence[Comparison]) -> Comparison:
    """Return the comparison of averages over tasks."""
    count = len(parts)
    first, second = (sum(part.means[side] for part in parts) / count for side in (0, 1))
    difference = significance.of_averages([part.difference for part in parts])
    setting, attention = parts[0].setting, parts[0].attention
    return Comparison(setting, attention, f"average of {count}", (first, second), difference)


def _means(first: Result, second: Result) -> tuple[float, float]:
    """Return the mean accuracies over the seeds that both have, in [0, 1]."""
    seeds = first.tests.keys() & second.tests.keys()
    one, other = (
        sum(result.tests[seed].accuracy for seed in seeds) / len(seeds)
        for result in (first, second)
    )
    return one, other


def _table(
    title: str, comparisons: Sequence[Comparison], names: tuple[str, str]
) -> tuple[str, pd.DataFrame]:
    """Return title and table; columns that are the same in all rows are left out."""
    table = pd.DataFrame([_row(part, names) for part in comparisons])
    if len(set(table["attention"])) == 1:
        table = table.drop(columns="attention")
    if len(set(table["setting"])) == 1:
        return f"{title}, preset {comparisons[0].setting}", table.drop(columns="setting")
    return title, table


def _row(part: Comparison, names: tuple[str, str]) -> dict[str, str]:
    difference = part.difference
    low, high = difference.interval
    only, (one, other) = difference.discordant, names
    return {
        "setting": part.setting,
        "attention": part.attention,
        "task": part.column,
        f"{one} %": f"{100 * part.means[0]:.1f}",
        f"{other} %": f"{100 * part.means[1]:.1f}",
        "difference": f"{100 * difference.value:+.1f}",
        "95 % interval": f"{100 * low:+.1f} to {100 * high:+.1f}",
        "p (Holm)": _p(part.p),
        "seeds": str(difference.seeds),
        f"only {one} %": f"{100 * only[0]:.1f}" if only else "",
        f"only {other} %": f"{100 * only[1]:.1f}" if only else "",
        "significant": _verdict(part),
    }


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _verdict(part: Comparison) -> str:
    """Return "yes" or "no", or how many seeds there are if they are too few."""
    if part.p is None:
        return "one seed" if part.difference.seeds == 1 else f"{part.difference.seeds} seeds"
    return "yes" if part.is_significant else "no"


def _figures(part: Comparison) -> dict[str, Any]:
    difference = part.difference
    low, high = difference.interval
    only_first, only_second = difference.discordant or (None, None)
    return {
        "setting": part.setting,
        "attention": part.attention,
        "task": part.column,
        "first": part.means[0],
        "second": part.means[1],
        "difference": difference.value,
        "low": low,
        "high": high,
        "p": difference.p,
        "p_holm": part.p,
        "seeds": difference.seeds,
        "examples": difference.examples,
        "only_first": only_first,
        "only_second": only_second,
        "significant": part.is_significant,
    }


def _notes(names: tuple[str, str], comparisons: Sequence[Comparison]) -> str:
    one, other = names
    family = sum(part.p is not None for part in comparisons)
    notes = (
        f"Accuracies over the seeds that both have; t-test paired over seeds and test examples. "
        f"{_rule(family)}"
    )
    of_tasks = [part for part in comparisons if not part.column.startswith("average of ")]
    if any(part.difference.discordant is None for part in of_tasks):
        notes += (
            " Where the last columns are empty, examples couldn't be paired or had several answers."
        )
    if any(part.difference.seeds == 1 for part in comparisons):
        notes += " One seed: the interval tells of other examples, not of other seeds."
    if any(part.difference.discordant for part in comparisons):
        notes += f" Only {one}, only {other}: share of answers that only that one has right."
    return notes


def _rule(family: int) -> str:
    """Return the sentence on what is significant, of so many comparisons with a verdict."""
    if not family:
        return f"No verdict: it takes {MIN_SEEDS} seeds or more."
    several = f" corrected for {family} comparisons by Holm's method" if family > 1 else ""
    return (
        f"Significant: p below 5 %,{several} with {MIN_SEEDS} seeds or more; each interval is "
        "uncorrected."
    )
