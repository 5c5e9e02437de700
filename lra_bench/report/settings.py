"""All settings of the runs: what the results of a task share is said once, the rest at each."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lra_bench.leaderboard.results import Result
from lra_bench.report.inputs import RunTable
from lra_bench.report.markup import Html, folded, joined, tag

# Stands for a setting that a result lacks: some records are older than the setting.
_NONE = object()


def section(tables: Iterable[RunTable]) -> Html:
    """Return the settings that the results of each task of each table share, folded."""
    return joined(
        (_shared(run_table, task) for run_table in tables for task in run_table.tasks), "\n"
    )


def _shared(run_table: RunTable, task: str) -> Html:
    title = f"{task}, preset {run_table.title}"
    body = tag("pre", tag("code", _text(shared(_of_task(run_table, task)))))
    return folded(title, body, id=_anchor(run_table, task), data_tags=run_table.tags)


def own(run_table: RunTable, result: Result) -> Html:
    """Return the settings of a result that its task does not share, and a link to the others."""
    common = shared(_of_task(run_table, result.task))
    mine = {key: value for key, value in flat(result).items() if key not in common}
    link = tag("a", f"all its runs on {result.task}", href=f"#{_anchor(run_table, result.task)}")
    return joined([
        tag("p", "Settings: those of ", link, " and" if mine else "."),
        tag("pre", tag("code", _text(mine))) if mine else None,
    ])  # fmt: skip


def shared(results: Iterable[Result]) -> dict[str, Any]:
    """Return the settings that all results have with one value, by their dotted names."""
    first, *others = (flat(result) for result in results)
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key, _NONE) == value for other in others)
    }


def flat(result: Result) -> dict[str, Any]:
    """Return the settings of a result by their dotted names, such as "train.num_steps".

    They are those of its first run: the others differ by the seed, which is left out.
    """
    settings = {key: value for key, value in result.runs[0].config.items() if key != "seed"}
    return dict(_flat(settings))


def _flat(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", each) for name, each in value.items())
        else:
            yield key, value


def _text(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())


def _of_task(run_table: RunTable, task: str) -> list[Result]:
    return [result for result in run_table.results if result.task == task]


def _anchor(run_table: RunTable, task: str) -> str:
    return f"settings-{run_table.name}-{run_table.tasks.index(task)}"
