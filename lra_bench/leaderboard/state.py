"""Accuracy against the bytes that a mechanism keeps of a sequence: the numbers and the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lra_bench.config import validate
from lra_bench.contracts import Dims
from lra_bench.display.layout import PLAIN, TableLayout
from lra_bench.display.tables import FOR_PROGRAMS, Sheet, for_programs, render_all
from lra_bench.display.units import size_text
from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import in_order
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result, percent, results
from lra_bench.records.record import Record
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.settings import RunSettings, from_dict

_BYTES = {"float32": 4, "bfloat16": 2}
_NOTE = (
    "State: what one layer has to keep of a sequence to answer one query, in the type of the "
    "model; ?: the mechanism does not declare it, or is unknown here. Accuracy: mean ± sd over "
    "seeds, in percent."
)


def state_bytes(run: Record) -> int | None:
    """Return the bytes of state of one layer for one sequence; see `AttentionTraits.state`.

    They follow from the config of the run. The result is None if the mechanism does not declare
    its state, or if mechanism, task or options are of another version.
    """
    try:
        settings = from_dict(run.config)
        validate(settings)
    except (UsageError, ValueError):
        return None
    numbers = _numbers(settings)
    return None if numbers is None else _BYTES[settings.model.dtype] * numbers


def _numbers(settings: RunSettings) -> int | None:
    """Return what the mechanism declares; None if it declares nothing, or no number."""
    entry = ATTENTIONS.get(settings.attention)
    if entry.traits.state is None:
        return None
    options = {**entry.options(), **settings.attention_options}
    try:
        numbers = entry.traits.state(_dims(settings), options)
    except Exception:  # of a plug-in
        return None
    return numbers if isinstance(numbers, int) and numbers >= 0 else None


def _dims(settings: RunSettings) -> Dims:
    """Return the sizes for which the mechanism of a run is built."""
    model, task = settings.model, make_task(settings.task, settings.data)
    length = max(task.max_len, model.padded_length) + (model.pooling == "cls")
    return Dims(model.num_heads, model.head_dim, length, model.emb_dim)


@dataclass(frozen=True)
class Panel:
    """The results of a task in one setting.

    Attributes:
        setting: the preset, and where it is departed from.
        task: name of the task.
        results: one for each attention, those with the least state first.
        states: bytes of state by the label of the attention; None where unknown.
    """

    setting: str
    task: str
    results: tuple[Result, ...]
    states: dict[str, int | None]

    @property
    def chance(self) -> float:
        """Return the accuracy on the test split of the task's guess, in [0, 1]."""
        return self.results[0].chance


def panels(records: Sequence[Record]) -> list[Panel]:
    """Return the panels of the records, by setting and in the order of the tasks."""
    return [
        _panel(setting, task, [result for result in every if result.task == task])
        for setting, runs in by_setting(records).items()
        for every in [results(runs)]
        for task in in_order({result.task for result in every})
    ]


def _panel(setting: str, task: str, every: list[Result]) -> Panel:
    states = {result.attention: state_bytes(result.runs[0]) for result in every}
    last = 1 + max((state for state in states.values() if state is not None), default=0)

    def rank(result: Result) -> tuple[int, str]:
        state = states[result.attention]
        return (last if state is None else state, result.attention)

    return Panel(setting, task, tuple(sorted(every, key=rank)), states)


def render(records: Sequence[Record], style: str, layout: TableLayout = PLAIN) -> str:
    """Return a table for each setting and task as text.

    Args:
        records: at least one.
        style: "markdown", "latex" or "html" for people; "csv" or "json" for one table of all.
        layout: which columns, in which order.
    """
    every = panels(records)
    if style in FOR_PROGRAMS:
        table = pd.DataFrame([row for panel in every for row in _long(panel)])
        return for_programs(table, style, layout)
    titles = [f"{panel.task}, preset {panel.setting}" for panel in every]
    sheets = [Sheet(title, _wide(x), _NOTE) for title, x in zip(titles, every, strict=True)]
    return render_all(style, sheets, layout)


def _long(panel: Panel) -> list[dict[str, Any]]:
    return [
        {
            "setting": panel.setting,
            "task": panel.task,
            "attention": result.attention,
            "state_bytes": panel.states[result.attention],
            "accuracy_mean": result.mean,
            "accuracy_sd": result.sd,
            "seeds": len(result.runs),
            "chance": result.chance,
        }
        for result in panel.results
    ]


def _wide(panel: Panel) -> pd.DataFrame:
    rows = [
        {
            "attention": result.attention,
            "state": _state_text(panel.states[result.attention]),
            "accuracy": _accuracy_text(result),
            "seeds": str(len(result.runs)),
        }
        for result in panel.results
    ]
    chance = {"attention": "chance", "state": "", "accuracy": percent(panel.chance), "seeds": ""}
    return pd.DataFrame([*rows, chance])


def _accuracy_text(result: Result) -> str:
    """Return the mean and its spread, or why there is none; an accuracy at chance is shown."""
    if result.mean is None:
        return f"FAIL ({', '.join(sorted({run.status.replace('_', ' ') for run in result.runs}))})"
    return percent(result.mean, result.sd)


def _state_text(state: int | None) -> str:
    return "?" if state is None else size_text(state)
