"""Which records may stand in one table."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

from lra_bench.errors import UsageError
from lra_bench.settings import PLACEMENT

_GROUPS = ("data", "model", "train")
SOURCE = "data.source"


def by_setting(records: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Records that may stand in one table: same preset, same overrides of it, same data."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in records:
        groups[_setting(run)].append(run)
    parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for setting, runs in groups.items():
        data: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            data[run["task"]].add(_data(run))
        for run in runs:
            several = len(data[run["task"]]) > 1
            parts[f"{setting}, data {_data(run)}" if several else setting].append(run)
    return dict(sorted(parts.items()))


def _data(run: dict[str, Any]) -> str:
    """The beginning of the checksum of the data."""
    return str((run.get("data") or {}).get("sha256", "unknown"))[:8]


def device_of(run: dict[str, Any]) -> str:
    """What it ran on, for speeds mean nothing without."""
    place = run.get("environment") or {}
    kind = place.get("device_kind", "unknown")
    name = place.get("host_cpu", kind) if kind == "cpu" else kind
    return f"{place.get('device_count', '?')} x {name}"


def _setting(run: dict[str, Any]) -> str:
    """The preset, and where the run departs from it; attention and seed don't count.

    Nor does where the data come from: their checksums tell what they are.
    """
    try:
        changed = departures(run)
    except UsageError:
        config = {key: run["config"].get(key) for key in ("data_source", *_GROUPS)}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return f"{run['preset']} of {run['task']}, unknown here ({digest[:8]})"
    said = [f"{key}={value}" for key, value in changed.items() if key != SOURCE]
    return run["preset"] + (f" ({', '.join(said)})" if said else "")


def departures(run: dict[str, Any]) -> dict[str, Any]:
    """Where a run departs from its preset, such as {"train.num_steps": 300}.

    Which attention, with which options, and on which devices doesn't count.

    Raises:
        UsageError: the task or the preset isn't known here.
    """
    usual, config = _usual(run["task"], run["preset"]), run["config"]
    changed = {}
    if config.get("data_source") != usual["data_source"]:
        changed[SOURCE] = config.get("data_source")
    for group in _GROUPS:
        found, known = config[group], usual[group]
        for key in sorted(found.keys() | known.keys()):
            if found.get(key) != known.get(key) and key not in PLACEMENT:
                changed[f"{group}.{key}"] = found.get(key)
    return changed


@cache
def _usual(task: str, preset: str) -> dict[str, Any]:
    from lra_bench.config import make_settings

    return make_settings(task, "identity", preset, 0).as_dict()
