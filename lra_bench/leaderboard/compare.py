"""Where two mechanisms, or two folders of records, differ, and by how much."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench.display.tables import FOR_PROGRAMS, for_programs
from lra_bench.display.tables import render as render_table
from lra_bench.errors import UsageError, unknown
from lra_bench.leaderboard.board import AVERAGES, in_order
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result, results
from lra_bench.leaderboard.significance import Difference, difference, of_averages
from lra_bench.records.find import collect, leave_out
from lra_bench.records.record import Record


@dataclass(frozen=True)
class Line:
    """One comparison: of a task, or of the average over several."""

    setting: str
    attention: str
    column: str
    means: tuple[float, float]
    found: Difference


def compare(folders: Sequence[Path], one: str, other: str, style: str) -> str:
    """Two mechanisms in the records below `folders`; without those, two folders of records.

    Raises:
        UsageError: there is nothing of one of them, or nothing that both have.
    """
    if folders:
        lines = list(_mechanisms(collect(folders), one, other))
    else:
        lines = list(_folders(_folder(one), _folder(other)))
    if not lines:
        raise UsageError(f"{one} and {other} share no task, setting and seed that ended well")
    if style in FOR_PROGRAMS:
        return for_programs(pd.DataFrame([_figures(line) for line in lines]), style)
    title, notes = f"{one} minus {other}", _notes(one, other, lines)
    table = pd.DataFrame([_row(line) for line in lines])
    if len(set(table["attention"])) == 1:
        table = table.drop(columns="attention")
    if len(set(table["setting"])) == 1:
        title += f", preset {lines[0].setting}"
        table = table.drop(columns="setting")
    return render_table(style, title, table, notes)


def _folder(name: str) -> Path:
    if not Path(name).exists():
        raise UsageError(
            f"no folder {name}; to compare mechanisms, name the folder of their records too"
        )
    return Path(name)


def _mechanisms(records: Sequence[Record], one: str, other: str) -> Iterator[Line]:
    names = {cell.attention for group in by_setting(records).values() for cell in results(group)}
    for name in (one, other):
        if name not in names:
            raise unknown("attention among the records", name, sorted(names))
    for setting, group in by_setting(records).items():
        found = results(group)
        mine, theirs = (_by_task(found, name) for name in (one, other))
        yield from _lines(setting, f"{one}, {other}", mine, theirs)


def _folders(one: Path, other: Path) -> Iterator[Line]:
    groups = [by_setting(collect([folder])) for folder in (one, other)]
    for setting in groups[0].keys() & groups[1].keys():
        mine, theirs = (results(group[setting]) for group in groups)
        for name in sorted({cell.attention for cell in mine} & {cell.attention for cell in theirs}):
            yield from _lines(setting, name, _by_task(mine, name), _by_task(theirs, name))
    for setting in sorted(groups[0].keys() ^ groups[1].keys()):
        leave_out(f"preset {setting}, which one of them has no records of")


def _by_task(found: Sequence[Result], attention: str) -> dict[str, Result]:
    return {cell.task: cell for cell in found if cell.attention == attention}


def _lines(
    setting: str, attention: str, mine: dict[str, Result], theirs: dict[str, Result]
) -> Iterator[Line]:
    """A line a task that both have, then the averages over those of which they have all."""
    found: dict[str, Line] = {}
    for task in in_order(mine.keys() & theirs.keys()):
        it = difference(mine[task], theirs[task])
        if it is not None:
            found[task] = Line(setting, attention, task, _means(mine[task], theirs[task]), it)
    yield from found.values()
    for count, tasks in AVERAGES.items():
        if set(tasks) <= found.keys():
            parts = [found[task] for task in tasks]
            means = [sum(line.means[side] for line in parts) / count for side in (0, 1)]
            yield Line(
                setting,
                attention,
                f"average of {count}",
                (means[0], means[1]),
                of_averages([line.found for line in parts]),
            )


def _means(one: Result, other: Result) -> tuple[float, float]:
    """Over the seeds that both have."""
    shared = one.finished.keys() & other.finished.keys()
    mine, theirs = (
        sum(cell.tests[seed].accuracy for seed in shared) / len(shared) for cell in (one, other)
    )
    return mine, theirs


def _row(line: Line) -> dict[str, str]:
    found = line.found
    low, high = found.interval
    either = found.discordant
    return {
        "setting": line.setting,
        "attention": line.attention,
        "task": line.column,
        "first %": f"{100 * line.means[0]:.1f}",
        "second %": f"{100 * line.means[1]:.1f}",
        "difference": f"{100 * found.value:+.1f}",
        "95 % interval": f"{100 * low:+.1f} to {100 * high:+.1f}",
        "p": f"{found.p:.3f}" if found.p >= 0.001 else "< 0.001",
        "seeds": str(found.seeds),
        "only first %": f"{100 * either[0]:.1f}" if either else "",
        "only second %": f"{100 * either[1]:.1f}" if either else "",
        "significant": _verdict(found),
    }


def _verdict(found: Difference) -> str:
    if found.is_significant:
        return "yes"
    return "no" if found.seeds > 1 else "one seed"


def _figures(line: Line) -> dict[str, Any]:
    found, either = line.found, line.found.discordant or (None, None)
    low, high = found.interval
    return {
        "setting": line.setting,
        "attention": line.attention,
        "task": line.column,
        "first": line.means[0],
        "second": line.means[1],
        "difference": found.value,
        "low": low,
        "high": high,
        "p": found.p,
        "seeds": found.seeds,
        "examples": found.examples,
        "only_first": either[0],
        "only_second": either[1],
        "significant": found.is_significant,
    }


def _notes(one: str, other: str, lines: Sequence[Line]) -> str:
    notes = (
        f"First: {one}; second: {other}. Accuracies over the seeds that both have; t-test paired "
        "over seeds and test examples, significant at the 5 % level and with two seeds or more."
    )
    if any(line.found.discordant is None and " " not in line.column for line in lines):
        notes += " Where the last columns are empty, examples couldn't be paired."
    if any(line.found.seeds == 1 for line in lines):
        notes += " One seed: the interval tells of other examples, not of other seeds."
    if any(line.found.discordant for line in lines):
        notes += " Only first, only second: share of answers that only that one has right."
    return notes
