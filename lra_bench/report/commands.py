"""The command that makes a run again, from its record."""

import shlex
from dataclasses import dataclass
from functools import cache
from typing import Any

from lra_bench.errors import UsageError

Record = dict[str, Any]
# Groups of a record's config, with what `--set` calls them.
_GROUPS = {"data": "data", "attention_options": "attention", "model": "model", "train": "train"}


@dataclass(frozen=True)
class Again:
    """How to make a run again.

    Attributes:
        command: for a shell.
        doubt: why it may not give the same settings here; "" if it does.
    """

    command: str
    doubt: str


def again(run: Record) -> Again:
    """The command of a run: its names, and whatever departs from its preset."""
    names = {key: run[key] for key in ("task", "attention", "preset", "seed")}
    words = ["lra-bench", "run", *(x for key, value in names.items() for x in (f"--{key}", value))]
    changed, doubt = _changes(run)
    for key, value in changed.items():
        words += ["--set", f"{key}={_written(value)}"]
    if run.get("init_from"):
        words += ["--init-from", run["init_from"].get("path", "CHECKPOINT")]
    return Again(shlex.join(map(str, words)), doubt)


def departures(run: Record) -> dict[str, Any]:
    """Where a run departs from its preset, by what `--set` calls it; {} if that isn't known."""
    return _changes(run)[0]


def _changes(run: Record) -> tuple[dict[str, Any], str]:
    """What to set, and why that may not be all."""
    try:
        usual = _usual(run["task"], run["attention"], run["preset"])
    except UsageError as error:
        return {}, f"Not known here: {error}."
    return _compared(run["config"], usual)


def _compared(config: Record, usual: Record) -> tuple[dict[str, Any], str]:
    changed, unknown = {}, []
    if config.get("data_source") != usual["data_source"]:
        changed["data.source"] = config.get("data_source")
    for group, name in _GROUPS.items():
        for key, value in sorted(config[group].items()):
            if key not in usual[group]:
                unknown.append(f"{name}.{key}={value}")
            elif value != usual[group][key]:
                changed[f"{name}.{key}"] = value
    return changed, f"This version has no {', '.join(unknown)}." if unknown else ""


@cache
def _usual(task: str, attention: str, preset: str) -> Record:
    from lra_bench.config import make_settings

    return make_settings(task, attention, preset, 0).as_dict()


def _written(value: Any) -> str:
    """A list of JSON was a tuple."""
    return str(tuple(value)) if isinstance(value, list) else str(value)
