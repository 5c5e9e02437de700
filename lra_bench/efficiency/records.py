"""Read efficiency.jsonl, which has a line for each visit to a cell."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lra_bench.efficiency.cells import Cell
from lra_bench.efficiency.measurement import (
    CLOCKS,
    SCHEMA,
    STATUSES,
    EstimatedTime,
    Measurement,
    Memory,
    Samples,
    Spread,
    Timing,
)
from lra_bench.errors import UsageError
from lra_bench.files.json_lines import read_lines
from lra_bench.files.paths import unreadable
from lra_bench.records.find import files_below, leave_out, leave_out_lines
from lra_bench.records.record import parse_environment
from lra_bench.records.values import (
    group,
    is_count,
    is_number,
    is_positive,
    is_text,
    is_whole,
    kept,
    or_none,
)
from lra_bench.settings import completed

FILE = "efficiency.jsonl"
# Groups of a cell's configuration that readers rely on.
_GROUPS = ("attention_options", "model", "train")


def read(path: Path) -> list[Measurement]:
    """Return the measurements in a file; lines that hold none are counted on standard error.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
    """
    values, broken = read_lines(path)
    measurements = []
    for value in values:
        try:
            measurements.append(parse(value))
        except ValueError:
            broken += 1
    if broken:
        leave_out_lines(broken, path)
    return measurements


def readable(path: Path) -> list[Measurement]:
    """Return the measurements in a file; a file that cannot be read is named and has none."""
    try:
        return read(path)
    except OSError as error:
        leave_out(f"{path}: unreadable: {unreadable(error)}")
        return []


def parse(value: Any) -> Measurement:
    """Return the measurement that a JSON value holds.

    A part that readers rely on must be valid. Any other part becomes None where it is not.

    Args:
        value: a line of efficiency.jsonl; old lines lack `round` and `samples`.

    Raises:
        ValueError: the value is no measurement of this schema; the message says why.
    """
    if not isinstance(value, dict):
        raise ValueError("not a measurement")
    value = {"round": None, **value}
    if missing := [key for key in _VALID if key not in value]:
        raise ValueError(f"incomplete: {', '.join(missing)}")
    if wrong := [key for key, valid in _VALID.items() if not valid(value[key])]:
        raise ValueError(f"not as it should be: {', '.join(wrong)}")
    known = {field.name: value.get(field.name) for field in fields(Measurement)}
    return Measurement(**{**known, **_typed(value)})


def visits(lines: Iterable[Measurement]) -> list[Measurement]:
    """Return the timed measurements of a cell's last sweep, one for each round.

    Args:
        lines: of one cell, in the order in which they were written.
    """
    last_sweep: list[Measurement] = []
    for line in lines:
        if line.timing:
            # Rounds of one sweep ascend; the line of a first round may have been lost.
            goes_on = last_sweep and (line.round or 1) > (last_sweep[-1].round or 1)
            last_sweep = [*(last_sweep if goes_on else []), line]
    return last_sweep


def find(folders: Sequence[Path]) -> list[Path]:
    """Return the files of lines below the folders, each once; see `files_below`.

    Raises:
        UsageError: a folder is missing.
    """
    return files_below(folders, FILE, closed=leave_out)


def collect(folders: Sequence[Path]) -> list[Measurement]:
    """Return all measurements below the folders, file by file; what was measured last is last.

    Raises:
        UsageError: a folder is missing, or there is no measurement at all.
    """
    by_file = [list(readable(path)) for path in find(folders)]
    lines = [line for file in sorted(by_file, key=_finished) for line in file]
    if not lines:
        raise UsageError(f"no efficiency records in {', '.join(map(str, folders))}")
    return lines


def _finished(lines: Sequence[Measurement]) -> str:
    """Return when the last of the lines was written, as ISO 8601 in UTC; "" if none says so."""
    return max((line.finished or "" for line in lines), default="")


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that have types of their own, and figures that only people read."""
    figures = ("compile_seconds", "flops", "xla_flops", "xla_bytes")
    return {
        "cell": _cell(value["cell"]),
        "timing": _timing(value["timing"]),
        "memory": _memory(value["memory"]),
        "estimate": _estimate(value.get("estimate")),
        "environment": parse_environment(value.get("environment")),
        "time_limit": kept(value.get("time_limit"), is_positive),
        **{name: kept(value.get(name), is_number) for name in figures},
        **{
            name: kept(value.get(name), is_whole)
            for name in ("bytes_asked", "parameters", "kernels")
        },
        **{name: kept(value.get(name), is_text) for name in ("error", "finished")},
    }


def _cell(value: dict[str, Any]) -> Cell:
    config = value["config"]
    groups = {name: group(config.get(name)) for name in _GROUPS}
    return Cell(**{**value, "config": completed({**config, **groups})})


def _timing(value: dict[str, Any] | None) -> Timing | None:
    if value is None:
        return None
    samples = value.get("samples")
    if samples is not None:
        samples = Samples(wall=tuple(samples["wall"]), cpu=tuple(samples["cpu"]))
    return Timing(
        repeats=kept(value.get("repeats"), is_whole),
        calls_per_repeat=kept(value.get("calls_per_repeat"), is_whole),
        wall=_spread(value["wall"]),
        cpu=_spread(value["cpu"]),
        samples=samples,
    )


def _spread(value: dict[str, Any]) -> Spread:
    return Spread(**{name: value[name] for name in _SPREAD})


def _memory(value: dict[str, Any] | None) -> Memory | None:
    if value is None:
        return None
    numbers = {
        field.name: kept(value.get(field.name), is_whole)
        for field in fields(Memory)
        if field.name != "method"
    }
    return Memory(**numbers, method=kept(value.get("method"), is_text))


def _estimate(value: Any) -> EstimatedTime | None:
    """Return the estimate; figures in it that are no positive numbers are None."""
    if not isinstance(value, dict):
        return None
    numbers = {name: kept(value.get(name), is_positive) for name in ("seconds", "hertz")}
    counts = {name: kept(value.get(name), is_whole) for name in ("cycles", "without")}
    return EstimatedTime(**numbers, **counts)


_SPREAD = ("median", "q1", "q3")


def _is_cell(value: Any) -> bool:
    names = {field.name for field in fields(Cell)}
    if not (isinstance(value, dict) and value.keys() == names):
        return False
    return all(valid(value[key]) for key, valid in _VALID_IN_CELL.items())


def _is_timing(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    samples = value.get("samples")
    return all(
        _is_spread(value.get(clock)) and (samples is None or _has_samples(samples, clock))
        for clock in CLOCKS
    )


def _has_samples(value: Any, clock: str) -> bool:
    samples = group(value).get(clock)
    return isinstance(samples, list) and bool(samples) and all(map(is_number, samples))


def _is_spread(value: Any) -> bool:
    return all(is_number(group(value).get(name)) for name in _SPREAD)


def _is_memory(value: Any) -> bool:
    numbers = (group(value).get(name) for name in ("predicted_bytes", "measured_bytes"))
    return isinstance(value, dict) and all(map(or_none(is_number), numbers))


_VALID_IN_CELL: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("attention", "scope", "size", "direction", "dtype", "target"), is_text),
    **dict.fromkeys(("length", "batch", "devices"), is_count),
    **dict.fromkeys(("layers", "memory_limit"), or_none(is_count)),
    "preset": or_none(is_text),
    "config": lambda value: isinstance(value, dict),
}
# The parts that a reader relies on; the other keys are for people.
_VALID: dict[str, Callable[[Any], bool]] = {
    "schema": lambda value: value == SCHEMA and not isinstance(value, bool),
    "cell": _is_cell,
    "machine": is_text,
    "status": lambda value: is_text(value) and value in STATUSES,
    "round": or_none(is_count),
    "inferred_from": or_none(is_count),
    "timing": or_none(_is_timing),
    "memory": or_none(_is_memory),
}
