"""Tables of accuracy: one for each setting for people, one row for each result for programs."""

import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lra_bench.display.layout import PLAIN, TableLayout
from lra_bench.display.tables import FOR_PROGRAMS, Marked, Sheet, for_programs, render_all
from lra_bench.leaderboard import notes, published_table, tokens
from lra_bench.leaderboard.board import BEST, Board, Row, board, in_order
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result, percent
from lra_bench.published import Published
from lra_bench.records.record import Record

_SPEED = "steps_per_second"


def render(
    records: Sequence[Record], style: str, *, with_published: bool, layout: TableLayout = PLAIN
) -> str:
    """Return all tables as text.

    Args:
        records: at least one.
        style: "markdown", "latex" or "html" for a table for each setting; "csv" or "json" for one
            table of all settings.
        with_published: whether to add published figures of the same attentions and tasks.
        layout: which columns, in which order.
    """
    groups = by_setting(records)
    if style in FOR_PROGRAMS:
        return for_programs(long(groups, with_published=with_published), style, layout)
    sheets = [_of_setting(setting, group, layout) for setting, group in groups.items()]
    if with_published:
        sheets += published_table.sheets(*_published(records))
    return render_all(style, sheets, layout)


def _of_setting(setting: str, records: Sequence[Record], layout: TableLayout) -> Sheet:
    """Return the table of a setting, with all its columns, and its notes.

    Notes on averages, parameters and steps/s are left out where these columns are not shown.
    """
    leaderboard = board(records)
    table = wide(leaderboard)
    shown = list(layout(table).columns)
    sentences = [
        f"{'; '.join(notes.signs(leaderboard, shown))}.",
        notes.marking(leaderboard),
        notes.readings_note(records),
        notes.cautions_note(records),
        notes.over_identity(leaderboard),
        tokens.notes(leaderboard.results),
        notes.unofficial_note(records),
        _speed_note(leaderboard) if "steps/s" in shown else "",
    ]
    return Sheet(f"preset {setting}", table, " ".join(filter(None, sentences)))


def _speed_note(leaderboard: Board) -> str:
    """Return the sentences on the devices of the steps/s; several are named in the cells."""
    timed = [result for result in leaderboard.results if result.median(_SPEED)]
    several = "No steps/s are given where the seeds of a row ran on different devices."
    mixed = several if any(result.device(_SPEED) is None for result in timed) else ""
    devices = _devices(leaderboard)
    return f"Steps/s on {devices[0]}. {mixed}".rstrip() if len(devices) == 1 else mixed


def _devices(leaderboard: Board) -> list[str]:
    """Return the devices of the rows whose seeds ran on one device."""
    return sorted({device for x in leaderboard.results if (device := x.device(_SPEED))})


def wide(leaderboard: Board) -> pd.DataFrame:
    """Return the table for people: a row for each attention, then chance; each cell is text.

    Where tokens are predicted, chance is the empirical baseline, and "uniform" is a last row.
    """
    rows = [_row(leaderboard, row) for row in leaderboard.rows]
    rows.append({"attention": "chance", **_chance(leaderboard)})
    if uniform := _uniform(leaderboard):
        rows.append({"attention": "uniform", **uniform})
    return pd.DataFrame(rows).fillna("")


def _row(leaderboard: Board, row: Row) -> dict[str, Any]:
    cells: dict[str, Any] = {"attention": row.attention}
    for task in leaderboard.tasks:
        result = row.results.get(task)
        text = _marked(leaderboard, row, task, _text(leaderboard, result)) if result else ""
        cells[_task_title(task)] = text
        more = tokens.columns(task, leaderboard.of_task(task))
        cells |= {column.title: column.text(result) for column in more}
    for count in leaderboard.averages:
        average = row.average(count)
        text = _marked(leaderboard, row, count, average.text()) if average else ""
        cells[_average_title(count)] = text
    return {**cells, "seeds": row.seeds(), **_costs(leaderboard, row)}


def _text(leaderboard: Board, result: Result) -> str:
    sign = f" {notes.NO_BETTER}" if leaderboard.is_no_better(result) else ""
    return result.text() + sign


def _marked(leaderboard: Board, row: Row, column: str | int, text: str) -> str | Marked:
    mark = leaderboard.marks.get((row.attention, column))
    return Marked(text, bold=mark == BEST) if mark else text


def _costs(leaderboard: Board, row: Row) -> dict[str, str]:
    """Return the cells of parameters and speed; only a table of a single task has room for all."""
    if len(leaderboard.tasks) > 1:
        return {"parameters vs softmax": row.parameter_ratio()}
    (result,) = row.results.values()
    parameters = result.median("parameters")
    device = result.device(_SPEED)
    rate = result.median(_SPEED) if device else None
    where = f" on {device}" if len(_devices(leaderboard)) > 1 else ""
    return {
        "parameters": f"{parameters:,.0f}" if parameters else "",
        "vs softmax": row.parameter_ratio(),
        "steps/s": f"{rate:.2f}{where}" if rate else "",
    }


def _chance(leaderboard: Board) -> dict[str, str]:
    of_tasks = {_task_title(task): percent(leaderboard.chance[task]) for task in leaderboard.tasks}
    of_tasks |= {
        column.title: column.chance
        for task in leaderboard.tasks
        for column in tokens.columns(task, leaderboard.of_task(task))
    }
    counts = leaderboard.averages
    of_averages = {_average_title(n): percent(leaderboard.average_chance(n)) for n in counts}
    return {**of_tasks, **of_averages}


def _uniform(leaderboard: Board) -> dict[str, str]:
    """Return what equal chances give where tokens are predicted; {} if none are."""
    cells = {}
    for task in leaderboard.tasks:
        results = leaderboard.of_task(task)
        share = tokens.uniform_accuracy(results)
        if share is not None:
            cells[_task_title(task)] = percent(share)
            cells |= {column.title: column.uniform for column in tokens.columns(task, results)}
    return cells


def _task_title(task: str) -> str:
    return f"{task} %"


def _average_title(count: int) -> str:
    return f"average of {count} %"


def long(groups: dict[str, list[Record]], *, with_published: bool) -> pd.DataFrame:
    """Return the table for programs: a row for each setting, attention and task.

    Accuracies are in [0, 1].
    """
    boards = {setting: board(records) for setting, records in groups.items()}
    records = [run for group in groups.values() for run in group]
    figures = published_table.figures(*_published(records)) if with_published else []
    rows = [
        _figures(setting, result, leaderboard.beats_identity)
        for setting, leaderboard in boards.items()
        for result in sorted(leaderboard.results, key=lambda each: (each.attention, each.task))
    ]
    return pd.DataFrame(rows + figures)


def _published(records: Sequence[Record]) -> tuple[list[Published], tuple[str, ...]]:
    """Return the published rows of the attentions of some records, and the records' tasks."""
    tasks = in_order({run.task for run in records})
    return published_table.rows_beside({run.attention for run in records}, tasks), tasks


def _figures(
    setting: str, result: Result, beats_identity: dict[tuple[str, str], bool]
) -> dict[str, Any]:
    return {
        "setting": setting,
        "task": result.task,
        "attention": result.attention,
        "accuracy_mean": result.mean,
        "accuracy_sd": result.sd,
        "seeds": len(result.runs),
        "at_chance": len(result.at_chance),
        "fail": result.failure(),
        "chance": result.chance,
        **_losses(result),
        "beats_identity": beats_identity.get((result.attention, result.task)),
        "parameters": result.median("parameters"),
        "parameters_vs_softmax": result.median("parameters_vs_softmax"),
        "steps_per_second": result.median("steps_per_second"),
        "official_data": result.runs[0].is_official,
        "source": "here",
        "reading": ", ".join(notes.readings(result.runs[0])),
    }


def _losses(result: Result) -> dict[str, float | None]:
    """Return test losses in nats, of chance too, and what held-out examples gave; None: unknown."""
    held_out = [run.held_out for run in result.finished.values() if run.held_out]
    return {
        "loss_mean": _mean([score.loss for score in result.tests.values()]),
        "chance_loss": result.runs[0].chance_loss,
        "uniform_loss": result.runs[0].uniform_loss,
        "held_out_accuracy_mean": _mean([score.accuracy for score in held_out]),
        "held_out_loss_mean": _mean([score.loss for score in held_out]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
