"""efficiency.jsonl: one line each time a cell is measured, appended as it is measured."""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lra_bench.efficiency.cells import Cell
from lra_bench.errors import UsageError
from lra_bench.files import read_lines
from lra_bench.records.find import files_below

FILE = "efficiency.jsonl"
SCHEMA = 1
CLOCKS = ("wall", "cpu")
STATUSES = ("ok", "out_of_memory", "timed_out", "crashed", "failed")
Line = dict[str, Any]


def blank(cell: Cell, machine: str) -> Line:
    """A line with every key and nothing measured yet; docs/records.md says what each is."""
    return {
        "schema": SCHEMA,
        "cell": cell.as_dict(),
        "machine": machine,
        "round": None,
        "status": "failed",
        "error": None,
        "inferred_from": None,
        "bytes_asked": None,
        "timing": None,
        "compile_seconds": None,
        "parameters": None,
        "flops": None,
        "xla_flops": None,
        "xla_bytes": None,
        "memory": None,
        "environment": None,
        "finished": None,
    }


def read(path: Path) -> list[Line]:
    """The lines of a file; those that are none are counted on standard error and left out."""
    values, broken = read_lines(path)
    lines = [line for line in map(_valid, values) if line is not None]
    broken += len(values) - len(lines)
    if broken:
        print(f"lra-bench: left out: {broken} of {path} that can't be read", file=sys.stderr)
    return lines


def _valid(line: Any) -> Line | None:
    """The line with every key, if it is one."""
    if not isinstance(line, dict):
        return None
    line = {"round": None, **line}  # there were none once
    whole = all(key in line and valid(line[key]) for key, valid in _VALID.items())
    return line if whole else None


def visits(lines: Iterable[Line]) -> list[Line]:
    """The timed lines of a cell that belong together: those of its last sweep, one a round."""
    found: list[Line] = []
    for line in lines:
        if line["timing"]:
            found = [*(found if (line["round"] or 1) > 1 else []), line]
    return found


def find(folders: Sequence[Path]) -> list[Path]:
    """Return the files of lines below the folders, each once; see `files_below`.

    Raises:
        UsageError: a folder is missing.
    """
    return files_below(folders, FILE)


def collect(folders: Sequence[Path]) -> list[Line]:
    """All lines below the folders.

    Raises:
        UsageError: a folder is missing, or there is no line at all.
    """
    lines = [line for path in find(folders) for line in read(path)]
    if not lines:
        raise UsageError(f"no efficiency records in {', '.join(map(str, folders))}")
    return lines


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_cell(value: Any) -> bool:
    try:
        cell = Cell(**value)
    except TypeError:
        return False
    sizes = _is_count(cell.length) and _is_count(cell.batch) and _is_count(cell.devices)
    return sizes and isinstance(cell.attention, str) and isinstance(cell.config, dict)


def _is_timing_or_none(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    samples = value.get("samples")
    return all(
        _is_spread(value.get(clock)) and (samples is None or _has_samples(samples, clock))
        for clock in CLOCKS
    )


def _has_samples(value: Any, clock: str) -> bool:
    found = value.get(clock) if isinstance(value, dict) else None
    return isinstance(found, list) and bool(found) and all(map(_is_number, found))


def _is_spread(value: Any) -> bool:
    names = ("median", "q1", "q3")
    return isinstance(value, dict) and all(_is_number(value.get(name)) for name in names)


def _is_memory_or_none(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    found = [value.get("predicted_bytes"), value.get("measured_bytes")]
    return all(one is None or _is_number(one) for one in found)


# What a reader relies on; the other keys are for people.
_VALID: dict[str, Callable[[Any], bool]] = {
    "schema": lambda value: value == SCHEMA,
    "cell": _is_cell,
    "machine": lambda value: isinstance(value, str),
    "status": lambda value: value in STATUSES,
    "round": lambda value: value is None or _is_count(value),
    "inferred_from": lambda value: value is None or _is_count(value),
    "timing": _is_timing_or_none,
    "memory": _is_memory_or_none,
}
