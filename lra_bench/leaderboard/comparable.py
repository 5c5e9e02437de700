"""Group the records that may stand in one table."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable

from lra_bench.errors import UsageError
from lra_bench.records.departures import SOURCE, departures
from lra_bench.records.record import Record
from lra_bench.settings import PLACEMENT

_GROUPS = ("data", "model", "train")


def by_setting(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records that may stand in one table: same preset, same overrides of it, same data.

    Returns:
        The records by their setting, such as "mini (train.num_steps=300)", sorted.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for run in records:
        groups[_setting(run)].append(run)
    parts: dict[str, list[Record]] = defaultdict(list)
    for setting, runs in groups.items():
        checksums: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            checksums[run.task].add(_checksum(run))
        for run in runs:
            differ = len(checksums[run.task]) > 1
            parts[f"{setting}, data {_checksum(run)}" if differ else setting].append(run)
    return dict(sorted(parts.items()))


def _checksum(run: Record) -> str:
    """Return the first eight digits of the checksum of the data."""
    return (run.data_sha256 or "unknown")[:8]


def _setting(run: Record) -> str:
    """Return the preset and where the run departs from it, attention and seed aside.

    The source of the data does not count: checksums tell which data are the same.
    """
    try:
        changed = departures(run)
    except UsageError:
        groups = {key: run.config[key] for key in _GROUPS}
        groups["train"] = {k: v for k, v in groups["train"].items() if k not in PLACEMENT}
        config = {"data_source": run.config["data_source"], **groups}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return f"{run.preset} of {run.task}, unknown here ({digest[:8]})"
    overrides = [str(departure) for departure in changed if departure.key != SOURCE]
    return run.preset + (f" ({', '.join(overrides)})" if overrides else "")
