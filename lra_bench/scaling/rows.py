"""What lines of efficiency.jsonl say: a row a cell, exponents, crossovers, largest lengths.

Pure functions. Seconds are of a call, bytes of a device, lengths in tokens.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from lra_bench.efficiency.records import CLOCKS, Line, visits
from lra_bench.efficiency.timing import pooled
from lra_bench.records.labels import attention_label
from lra_bench.registry import is_exact


@dataclass(frozen=True)
class Setting:
    """What rows of one table share: all but the attention and the length; see `Cell`.

    Attributes:
        model: JSON of the other settings that change the program.
    """

    machine: str
    target: str
    scope: str
    size: str
    preset: str | None
    direction: str
    batch: int
    dtype: str
    layers: int | None
    devices: int
    memory_limit: int | None
    model: str


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of the seconds of a call."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Measured:
    """One cell.

    Attributes:
        label: the attention, with the options that aren't its defaults.
        exact: whether it equals softmax attention.
        wall, cpu: None where it was not timed; CPU time is of all threads together.
        rounds: how many visits' samples these are of.
        predicted_bytes: by the compiler; it can be there where the cell didn't run.
    """

    setting: Setting
    attention: str
    label: str
    exact: bool
    length: int
    status: str
    error: str | None
    inferred_from: int | None
    wall: Spread | None
    cpu: Spread | None
    rounds: int | None
    repeats: int | None
    calls_per_repeat: int | None
    measured_bytes: int | None
    predicted_bytes: int | None
    memory_method: str | None
    bytes_asked: int | None
    flops: float | None
    xla_flops: float | None
    xla_bytes: float | None
    compile_seconds: float | None
    parameters: int | None
    platform: str | None
    versions: str | None
    git_commit: str | None
    finished: str | None

    @property
    def ran(self) -> bool:
        """Whether it fits, be it run or only compiled."""
        return self.status == "ok"

    @property
    def memory(self) -> int | None:
        """Peak bytes of what ran: measured, else predicted."""
        return (self.measured_bytes or self.predicted_bytes) if self.ran else None

    @property
    def predicted_over_measured(self) -> float | None:
        """The compiler's prediction of the peak over what was measured."""
        if not (self.predicted_bytes and self.measured_bytes):
            return None
        return self.predicted_bytes / self.measured_bytes


def from_lines(lines: Iterable[Line]) -> list[Measured]:
    """A row a cell; of several lines of one cell its last sweep's visits, else the last."""
    by_cell: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        cell = line["cell"]
        options = _group(cell["config"].get("attention_options"))
        label = attention_label(cell["attention"], options)
        by_cell[_setting(line), label, cell["length"]].append(line)
    return [_row(setting, label, found) for (setting, label, _), found in by_cell.items()]


def frame(rows: Iterable[Measured]) -> pd.DataFrame:
    """The rows for programs: SI units, a column a figure, what isn't known left empty."""
    table = pd.DataFrame([_flat(row) for row in rows])
    whole = ("layers", "memory_limit", "inferred_from", "rounds", "repeats", "calls_per_repeat",
             "measured_bytes", "predicted_bytes", "bytes_asked", "parameters")  # fmt: skip
    return table.astype(dict.fromkeys(whole, "Int64"))


def _flat(row: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if name in ("wall", "cpu"):
            spread = value or {}
            for end, key in (("", "median"), ("_q1", "q1"), ("_q3", "q3")):
                found[f"{name}_seconds{end}"] = spread.get(key)
        else:
            found.update(value if name == "setting" else {name: value})
    return {**found, "predicted_over_measured": row.predicted_over_measured}


def _row(setting: Setting, label: str, found: list[Line]) -> Measured:
    timed = visits(found)
    line = (timed or found)[-1]
    cell, timing, place = line["cell"], _timing(timed), _group(line.get("environment"))
    memory = _memory([*found, line])
    return Measured(
        setting=setting,
        attention=cell["attention"],
        label=label,
        exact=is_exact(cell["attention"]),
        length=cell["length"],
        status=line["status"],
        wall=_spread(timing.get("wall")),
        cpu=_spread(timing.get("cpu")),
        memory_method=_text(memory.get("method")),
        versions=_versions(place),
        rounds=len(timed) or None,
        compile_seconds=_number((timed or found[-1:])[0].get("compile_seconds")),
        **_converted(_whole, timing, "repeats", "calls_per_repeat"),
        **_converted(_whole, memory, "measured_bytes", "predicted_bytes"),
        **_converted(_whole, line, "inferred_from", "bytes_asked", "parameters"),
        **_converted(_number, line, "flops", "xla_flops", "xla_bytes"),
        **_converted(_text, line, "error", "finished"),
        **_converted(_text, place, "platform", "git_commit"),
    )


def _timing(timed: list[Line]) -> dict[str, Any]:
    """That of all visits together."""
    found = [line["timing"] for line in timed]
    if len(found) < 2:
        return found[0] if found else {}
    samples = [one.get("samples") or {c: [one[c]["median"]] for c in CLOCKS} for one in found]
    spreads = {clock: pooled([one[clock] for one in samples]) for clock in CLOCKS}
    repeats = sum(_whole(one.get("repeats")) or 0 for one in found)
    return {**found[-1], **spreads, "repeats": repeats}


def _converted(to: Callable[[Any], Any], group: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: to(group.get(name)) for name in names}


def _setting(line: Line) -> Setting:
    cell = line["cell"]
    return Setting(
        machine=line["machine"],
        model=_model(cell),
        preset=_text(cell["preset"]),
        **_converted(str, cell, "target", "scope", "size", "direction", "dtype"),
        **_converted(_whole, cell, "batch", "layers", "devices", "memory_limit"),
    )


# What of a configuration changes the program; layers and dtype are the cell's own.
_OF_ATTENTION = ("num_heads", "head_dim")
_OF_MODEL = (*_OF_ATTENTION, "emb_dim", "ffn_dim", "positions", "pooling", "dropout")
_OF_TRAINING = ("accumulate", "clip_norm", "schedule")


def _model(cell: dict[str, Any]) -> str:
    names = _OF_ATTENTION if cell["scope"] == "attention" else _OF_MODEL
    found = _picked(_group(cell["config"].get("model")), names)
    if cell["scope"] == "train":
        found |= _picked(_group(cell["config"].get("train")), _OF_TRAINING)
    return json.dumps(found)


def _picked(group: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: group[name] for name in names if name in group}


def _group(value: Any) -> dict[str, Any]:
    """What isn't needed to read a line can be anything in one that was tampered with."""
    return value if isinstance(value, dict) else {}


def _spread(found: dict[str, float] | None) -> Spread | None:
    """None where the clock was too coarse to see any time."""
    if found is None or found["median"] <= 0:
        return None
    return Spread(found["median"], found["q1"], found["q3"])


def _memory(found: list[Line]) -> dict[str, Any]:
    """Of the last line that measured it, else of the last that knows of it."""
    known = [line["memory"] for line in found if line["memory"]]
    measured = [memory for memory in known if memory.get("measured_bytes")]
    return (measured or known or [{}])[-1]


def _versions(place: dict[str, Any]) -> str | None:
    known = _group(place.get("versions"))
    shown = [f"{name} {known[name]}" for name in ("jax", "lra-bench") if name in known]
    return ", ".join(shown) or None


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or not 0 <= number < 2**63 else round(number)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
