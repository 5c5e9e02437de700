"""All settings of the runs: what the results of a task share is said once, the rest at each."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lra_bench.leaderboard.results import Result
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, folded, joined, tag
from lra_bench.report.shared import flat


def section(tables: Iterable[RunTable]) -> Html:
    """Return the settings that the results of each task of each table share, folded."""
    return joined(
        (_shared(run_table, task) for run_table in tables for task in run_table.tasks), "\n"
    )


def _shared(run_table: RunTable, task: str) -> Html:
    title = f"{task}, preset {run_table.title}"
    body = tag("pre", tag("code", _text(run_table.shared_settings[task])))
    return folded(title, body, id=_anchor(run_table, task), data_tags=run_table.tags)


def own(run_table: RunTable, result: Result) -> Html:
    """Return the settings of a result that its task does not share, and a link to the others."""
    common = run_table.shared_settings[result.task]
    mine = {key: value for key, value in flat(result).items() if key not in common}
    link = tag("a", f"all its runs on {result.task}", href=f"#{_anchor(run_table, result.task)}")
    return joined([
        tag("p", "Settings: those of ", link, " and" if mine else "."),
        tag("pre", tag("code", _text(mine))) if mine else None,
    ])  # fmt: skip


def _text(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())


def _anchor(run_table: RunTable, task: str) -> str:
    return f"settings-{run_table.name}-{run_table.tasks.index(task)}"
