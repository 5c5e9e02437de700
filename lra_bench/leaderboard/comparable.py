"""Which records may stand in one table."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable

from lra_bench.errors import UsageError
from lra_bench.records.departures import SOURCE, departures
from lra_bench.records.record import Record

_GROUPS = ("data", "model", "train")


def by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records that may stand in one table: same preset, same overrides of it, same data."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for run in records:
        groups[_setting(run)].append(run)
    parts: dict[str, list[Record]] = defaultdict(list)
    for setting, runs in groups.items():
        data: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            data[run.task].add(_data(run))
        for run in runs:
            several = len(data[run.task]) > 1
            parts[f"{setting}, data {_data(run)}" if several else setting].append(run)
    return dict(sorted(parts.items()))


def _data(run: Record) -> str:
    """The beginning of the checksum of the data."""
    return (run.data_sha256 or "unknown")[:8]


def _setting(run: Record) -> str:
    """The preset, and where the run departs from it; attention and seed don't count.

    Nor does where the data come from: their checksums tell what they are.
    """
    try:
        changed = departures(run)
    except UsageError:
        config = {key: run.config[key] for key in ("data_source", *_GROUPS)}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return f"{run.preset} of {run.task}, unknown here ({digest[:8]})"
    said = [str(departure) for departure in changed if departure.key != SOURCE]
    return run.preset + (f" ({', '.join(said)})" if said else "")
