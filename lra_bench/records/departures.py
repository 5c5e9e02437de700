"""The settings in which a run departs from its preset."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lra_bench.config import make_settings
from lra_bench.records.record import Record
from lra_bench.registry import IDENTITY
from lra_bench.settings import PLACEMENT

SOURCE = "data.source"
# Groups of a record's config, with the name that `--set` has for each.
_GROUPS = {"data": "data", "attention_options": "attention", "model": "model", "train": "train"}


@dataclass(frozen=True)
class Departure:
    """A setting of a run that is not as its preset has it.

    Attributes:
        key: as in `--set key=value`.
        value: in the run; None if the run has no such setting.
        in_run: whether the run has the setting.
        in_preset: whether the preset, in this version, has it.
    """

    key: str
    value: Any
    in_run: bool
    in_preset: bool

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


def departures(run: Record, *, with_attention: bool = False) -> list[Departure]:
    """Return the settings in which a run departs from its preset.

    Args:
        run: the record.
        with_attention: whether to compare the options of the attention too, and on which devices
            the run was placed; neither sets runs of one table apart.

    Raises:
        UsageError: the task, the preset or, if it counts, the attention is unknown here. An
            attention of a user's file is not, since the record has its usual options.
    """
    file = run.config.get("attention_file")
    attention = run.attention if with_attention and file is None else IDENTITY
    preset = of_preset(run.task, attention, run.preset, objective(run.config))
    if file is not None:
        preset = {**preset, "attention_options": options_of_file(file)}
    changed = _all_changed(run.config, preset)
    if with_attention:
        return changed
    return [x for x in changed if _option(x) not in PLACEMENT and _group(x) != "attention"]


def changes(config: Mapping[str, Any]) -> list[Departure]:
    """Return all settings in which the config of a run departs from its preset.

    Raises:
        UsageError: the task, the preset or the attention is unknown here.
    """
    names = config["task"], config["attention"], config["preset"]
    return _all_changed(config, of_preset(*names, objective(config)))


def options_of_file(file: Any) -> dict[str, Any]:
    """Return the defaults of a mechanism of the user's own, by what a config holds of its file."""
    options = file.get("options") if isinstance(file, dict) else None
    return options if isinstance(options, dict) else {}


def _all_changed(run: Mapping[str, Any], preset: Mapping[str, Any]) -> list[Departure]:
    changed = []
    if run["data_source"] != preset["data_source"]:
        changed.append(Departure(SOURCE, run["data_source"], True, True))
    for group, name in _GROUPS.items():
        changed += _changed(name, run[group], preset[group])
    return changed


def _group(departure: Departure) -> str:
    return departure.key.partition(".")[0]


def _option(departure: Departure) -> str:
    return departure.key.partition(".")[2]


def _changed(group: str, run: Mapping[str, Any], preset: Mapping[str, Any]) -> list[Departure]:
    return [
        Departure(f"{group}.{key}", run.get(key), key in run, key in preset)
        for key in sorted(run.keys() | preset.keys())
        if run.get(key) != preset.get(key)
    ]


def objective(config: Mapping[str, Any]) -> str | None:
    """Return what tokens are predicted in a run; None if none are."""
    value = config["data"].get("objective")
    return value if isinstance(value, str) else None


@cache
def of_preset(
    task: str, attention: str, preset: str, objective: str | None = None
) -> dict[str, Any]:
    """Return the config that a preset has, ready for JSON.

    Args:
        task, attention, preset: their names.
        objective: the one of a run, if tokens are predicted: it decides whether attention is
            causal, which some mechanisms cannot be. The objective in the result is the preset's.

    Raises:
        UsageError: the task, the preset or the attention is unknown here.
    """
    if objective is None:
        return make_settings(task, attention, preset, 0).as_dict()
    config = make_settings(task, attention, preset, 0, [f"data.objective={objective}"]).as_dict()
    return {**config, "data": of_preset(task, IDENTITY, preset)["data"]}
