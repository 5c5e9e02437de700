"""Tables of accuracy: for people a table a setting, for programs a row a cell."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lra_bench.display.tables import FOR_PROGRAMS, Marked, for_programs
from lra_bench.display.tables import render as render_table
from lra_bench.leaderboard import published_table
from lra_bench.leaderboard.board import AVERAGES, BEST, Board, Row, board, in_order
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import ABOVE_CHANCE, Result, percent, results
from lra_bench.records.record import Record

PARAMETERS = "parameters vs softmax"


def render(records: Sequence[Record], style: str, *, with_published: bool) -> str:
    """All tables as markdown, latex or html, a table a setting; or as csv or json, one for all."""
    groups = by_setting(records)
    if style in FOR_PROGRAMS:
        return for_programs(long(groups, with_published=with_published), style)
    parts = [_one(setting, group, style) for setting, group in groups.items()]
    if with_published:
        attentions = {run.attention for run in records}
        tasks = in_order({run.task for run in records})
        parts += published_table.render(
            style, published_table.rows_beside(attentions, tasks), tasks
        )
    return "\n".join(parts)


def _one(setting: str, records: Sequence[Record], style: str) -> str:
    made = board(records)
    table = wide(made)
    devices = sorted({run.device for run in records})
    speed = f"Steps/s on {' and '.join(devices)}." if "steps/s" in table.columns else ""
    notes = f"{_notes(made, table)} {_unofficial(records)}{speed}".rstrip()
    return render_table(style, f"preset {setting}", table, notes)


def wide(made: Board) -> pd.DataFrame:
    """The table for people: a row an attention, text in every cell."""
    rows = [_row(made, row) for row in made.rows]
    rows.append({"attention": "chance", **_chance(made)})
    return pd.DataFrame(rows).fillna("")


def _row(made: Board, row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {"attention": row.attention}
    for task in made.tasks:
        cell = row.cells.get(task)
        found[f"{task} %"] = _marked(made, row, task, cell.text()) if cell else ""
    for count in made.averages:
        average = row.average(count)
        text = _marked(made, row, count, average.text()) if average else ""
        found[f"average of {count} %"] = text
    return {**found, "seeds": row.seeds(), **_extent(made, row)}


def _marked(made: Board, row: Row, column: str | int, text: str) -> str | Marked:
    mark = made.marks.get((row.attention, column))
    return Marked(text, bold=mark == BEST) if mark else text


def _extent(made: Board, row: Row) -> dict[str, str]:
    """Parameters, and of a single task speed too; beside other tasks there is no room for it."""
    if len(made.tasks) > 1:
        return {PARAMETERS: row.parameter_ratio()}
    (cell,) = row.cells.values()
    parameters = cell.median("parameters")
    rate = cell.median("steps_per_second") if len({run.device for run in cell.runs}) == 1 else None
    return {
        "parameters": f"{parameters:,.0f}" if parameters else "",
        "vs softmax": row.parameter_ratio(),
        "steps/s": f"{rate:.2f}" if rate else "",
    }


def _chance(made: Board) -> dict[str, str]:
    found = {f"{task} %": percent(made.chance[task], None) for task in made.tasks}
    for count in made.averages:
        chance = statistics.fmean(made.chance[task] for task in AVERAGES[count])
        found[f"average of {count} %"] = percent(chance, None)
    return found


def _unofficial(records: Iterable[Record]) -> str:
    """Which tasks were run on other data than the benchmark's."""
    other = {
        f"{run.task} ({run.data.source})"
        for run in records
        if run.data is not None and not run.data.official
    }
    return f"Data that are not the published data: {', '.join(sorted(other))}. " if other else ""


def _notes(made: Board, table: pd.DataFrame) -> str:
    """What the signs in a table mean, for those that are in it."""
    text = table.to_string()
    notes = ["mean ± sd over seeds, test accuracy at the best validation step"]
    if made.averages:
        notes.append(
            "averages are of unrounded figures, and only where every task has one; "
            "a failure at chance counts with the accuracy it has"
        )
    if "FAIL (at chance" in text:
        notes.append(f"at chance: not {ABOVE_CHANCE} standard errors above the commonest answer")
    if "(!)" in text:
        notes.append("(!): over 10 % more parameters than softmax")
    if " from " in text:
        notes.append("from: fine-tuned, after that attention's own training")
    return f"{'; '.join(notes)}. {rule(made)}"


def rule(made: Board) -> str:
    """How the best are marked, or why none is."""
    if len(made.rows) < 2:
        return ""
    rule = (
        "better than every other row at the 5 % level, by a t-test paired over seeds and "
        "test examples, of at least two seeds"
    )
    if not made.marks:
        return f"No figure is bold: none is {rule}."
    return f"Bold: {rule}; underlined: the same but for the bold one."


def long(groups: dict[str, list[Record]], *, with_published: bool) -> pd.DataFrame:
    """The table for programs: a row a setting, attention and task; accuracies in [0, 1]."""
    rows = [
        _figures(setting, cell) for setting, records in groups.items() for cell in results(records)
    ]
    return pd.DataFrame(rows + (published_table.figures() if with_published else []))


def _figures(setting: str, cell: Result) -> dict[str, Any]:
    return {
        "setting": setting,
        "task": cell.task,
        "attention": cell.attention,
        "accuracy_mean": cell.mean,
        "accuracy_sd": cell.sd,
        "seeds": len(cell.runs),
        "fail": cell.failure(),
        "chance": cell.chance,
        "parameters": cell.median("parameters"),
        "parameters_vs_softmax": cell.median("parameters_vs_softmax"),
        "steps_per_second": cell.median("steps_per_second"),
        "official_data": cell.runs[0].is_official,
        "source": "here",
    }
