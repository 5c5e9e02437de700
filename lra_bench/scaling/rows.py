"""Rows of tables from efficiency records: one for each cell.

Pure functions. Seconds are of a call, bytes of a device, lengths in tokens.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pandas as pd

from lra_bench.efficiency.cells import Cell
from lra_bench.efficiency.measurement import (
    Clock,
    EstimatedTime,
    Measurement,
    Memory,
    Spread,
    Timing,
)
from lra_bench.efficiency.records import visits
from lra_bench.efficiency.timing import pooled
from lra_bench.ranges import defaults_of
from lra_bench.records.labels import attention_label, changed_options, versions
from lra_bench.registry import IDENTITY, is_exact
from lra_bench.runtime.environment import Environment
from lra_bench.settings import ModelSettings, TrainSettings


@dataclass(frozen=True)
class Setting:
    """The settings that the rows of one table share: all but attention and length; see `Cell`.

    Attributes:
        machine: where the rows were measured.
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
class Measured:
    """One cell: a row for programs. Unknown or absent parts are None.

    Attributes:
        setting: all that rows of one table share.
        attention: the registered name.
        name: the attention with the options that are not its defaults.
        exact: whether the attention equals softmax attention.
        length: tokens.
        status, error, inferred_from, bytes_asked: see `Measurement`.
        wall, cpu: seconds of a call; None if it was not timed. `cpu` is of all threads together.
        rounds: number of visits whose samples these are.
        repeats, calls_per_repeat: samples, and calls in each.
        measured_bytes: peak memory of a device.
        predicted_bytes: by the compiler; it can be known where the cell did not run.
        memory_method: how `measured_bytes` was measured.
        estimated_seconds, estimated_cycles: of a call that was not made, by the compiler.
        without_estimate: operations that have none; `estimated_seconds` is None if they matter.
        flops, xla_flops, xla_bytes, parameters, kernels: see `Measurement`.
        compile_seconds: time to compile.
        platform, versions, git_commit: where the cell was measured, and by which code.
        finished: when, in UTC.
        options: the options that are not the attention's defaults, by name.
        names_machine: whether the label names the machine, because several share a table.
    """

    setting: Setting
    attention: str
    name: str
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
    estimated_seconds: float | None
    estimated_cycles: int | None
    without_estimate: int | None
    bytes_asked: int | None
    flops: float | None
    xla_flops: float | None
    xla_bytes: float | None
    compile_seconds: float | None
    parameters: int | None
    kernels: int | None
    platform: str | None
    versions: str | None
    git_commit: str | None
    finished: str | None
    options: Mapping[str, Any]
    names_machine: bool = False

    @property
    def label(self) -> str:
        """Return the name that tells the rows of a group apart at each length."""
        return self.name + self._machine

    def shown(self, optimum: str = f"{IDENTITY} (OPT)") -> str:
        """Return the name that a reader sees; `optimum` stands for identity.

        The Performer paper calls identity "X (OPT)".
        """
        is_optimum = self.attention == IDENTITY and not self.options
        return (optimum if is_optimum else self.name) + self._machine

    @property
    def _machine(self) -> str:
        return f" @ {self.setting.machine}" if self.names_machine else ""

    @property
    def ran(self) -> bool:
        """Return whether the cell fits: it ran or, if only compiled, would run."""
        return self.status == "ok"

    @property
    def memory(self) -> int | None:
        """Return the peak bytes of a cell that ran: measured, else predicted."""
        return (self.measured_bytes or self.predicted_bytes) if self.ran else None

    @property
    def predicted_over_measured(self) -> float | None:
        """Return the compiler's prediction of the peak over the measured peak."""
        if not (self.predicted_bytes and self.measured_bytes):
            return None
        return self.predicted_bytes / self.measured_bytes


def from_lines(lines: Iterable[Measurement]) -> list[Measured]:
    """Return a row for each cell, from the visits of its last sweep or, untimed, its last line."""
    by_cell: dict[tuple[Any, ...], list[Measurement]] = defaultdict(list)
    lines = list(lines)
    for line, name in zip(lines, labels(lines), strict=True):
        by_cell[_setting(line), name, line.cell.length].append(line)
    return [_row(setting, name, group) for (setting, name, _), group in by_cell.items()]


def frame(rows: Iterable[Measured]) -> pd.DataFrame:
    """Return the rows for programs: SI units, a column for each figure, unknown ones empty."""
    table = pd.DataFrame([_flat(row) for row in rows])
    whole = ("layers", "memory_limit", "inferred_from", "rounds", "repeats", "calls_per_repeat",
             "measured_bytes", "predicted_bytes", "bytes_asked", "parameters", "estimated_cycles",
             "without_estimate", "kernels")  # fmt: skip
    return table.astype(dict.fromkeys(whole, "Int64"))


def _flat(row: Measured) -> dict[str, Any]:
    """Return the columns of a row."""
    columns: dict[str, Any] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if field.name == "setting":
            columns |= asdict(value)
        elif field.name in ("wall", "cpu"):
            columns |= _spread_columns(field.name, value)
        elif field.name == "name":
            columns["label"] = value
        elif field.name not in ("options", "names_machine"):
            columns[field.name] = value
    return {**columns, "predicted_over_measured": row.predicted_over_measured}


def _spread_columns(clock: str, spread: Spread | None) -> dict[str, float | None]:
    ends = {"": "median", "_q1": "q1", "_q3": "q3"}
    return {f"{clock}_seconds{end}": getattr(spread, key, None) for end, key in ends.items()}


def _row(setting: Setting, name: str, lines: list[Measurement]) -> Measured:
    """Return the row of a cell.

    Args:
        setting: of the cell.
        name: the attention with its changed options.
        lines: all measurements of the cell, in the order in which they were written.
    """
    timed = visits(lines)
    line = (timed or lines)[-1]
    timing, memory = _timing(timed), _memory([*lines, line]) or Memory(None)
    where, estimate = line.environment or Environment(), line.estimate or EstimatedTime(None)
    return Measured(
        setting=setting,
        attention=line.cell.attention,
        name=name,
        exact=is_exact(line.cell.attention),
        length=line.cell.length,
        status=line.status,
        error=line.error,
        inferred_from=line.inferred_from,
        wall=_spread(timing, "wall"),
        cpu=_spread(timing, "cpu"),
        rounds=len(timed) or None,
        repeats=timing.repeats if timing else None,
        calls_per_repeat=timing.calls_per_repeat if timing else None,
        measured_bytes=memory.measured_bytes,
        predicted_bytes=memory.predicted_bytes,
        memory_method=memory.method,
        estimated_seconds=estimate.seconds,
        estimated_cycles=estimate.cycles,
        without_estimate=estimate.without,
        bytes_asked=line.bytes_asked,
        flops=line.flops,
        xla_flops=line.xla_flops,
        xla_bytes=line.xla_bytes,
        compile_seconds=(timed or lines[-1:])[0].compile_seconds,
        parameters=line.parameters,
        kernels=line.kernels,
        platform=where.platform,
        versions=_versions(where),
        git_commit=where.git_commit,
        finished=line.finished,
        options=changed_options(
            line.cell.attention, line.cell.config["attention_options"], _file(line.cell)
        ),
    )


def _timing(timed: Sequence[Measurement]) -> Timing | None:
    """Return the timing of all visits together; None if there is none."""
    timings = [line.timing for line in timed if line.timing]
    if len(timings) < 2:
        return timings[0] if timings else None
    repeats = sum(timing.repeats or 0 for timing in timings)
    wall, cpu = (pooled([_samples(x, clock) for x in timings]) for clock in ("wall", "cpu"))
    return replace(timings[-1], repeats=repeats, wall=wall, cpu=cpu)


def _samples(timing: Timing, clock: Clock) -> Sequence[float]:
    """Return the seconds that were kept, or the median of an old line, which kept none."""
    return timing.samples.of(clock) if timing.samples else [timing.spread(clock).median]


def labels(lines: Sequence[Measurement]) -> list[str]:
    """Return the name of each line's row; versions of one file have its checksum in their names."""
    cells = [line.cell for line in lines]
    suffixes = versions([(cell.attention, _file(cell)) for cell in cells])
    return [_name(cell) + suffix for cell, suffix in zip(cells, suffixes, strict=True)]


def _name(cell: Cell) -> str:
    return attention_label(cell.attention, cell.config["attention_options"], _file(cell))


def _file(cell: Cell) -> Any:
    return cell.config.get("attention_file")


def _setting(line: Measurement) -> Setting:
    """Return the setting of a measurement."""
    same = {field.name for field in fields(Setting)} - {"machine", "model"}
    values = {name: getattr(line.cell, name) for name in same}
    return Setting(machine=line.machine, model=_model(line.cell), **values)


# The settings of a configuration that change the program; layers and dtype are the cell's own.
_OF_ATTENTION = ("num_heads", "head_dim")
_OF_MODEL = (*_OF_ATTENTION, "emb_dim", "ffn_dim", "positions", "pooling", "dropout")
_OF_TRAINING = ("accumulate", "clip_norm", "schedule")
# Others that do so, with their usual values: they are named only where they have another.
_UNUSUAL = {"dropout_bits": "threefry", **defaults_of(ModelSettings)}
del _UNUSUAL["init"]  # changes what parameters are, not what is computed with them
_UNUSUAL_TRAINING = {"clip_value": defaults_of(TrainSettings)["clip_value"]}


def _model(cell: Cell) -> str:
    """Return the JSON of the settings that change the program."""
    if cell.scope == "attention":
        return json.dumps(_picked(cell.config["model"], _OF_ATTENTION))
    picked = _picked(cell.config["model"], _OF_MODEL) | _unusual(cell.config["model"], _UNUSUAL)
    if cell.scope == "train":
        train = cell.config["train"]
        picked |= _picked(train, _OF_TRAINING) | _unusual(train, _UNUSUAL_TRAINING)
    return json.dumps(picked)


def _unusual(group: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in usual if group.get(name, usual[name]) != usual[name]}


def _picked(group: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: group[name] for name in names if name in group}


def _spread(timing: Timing | None, clock: Clock) -> Spread | None:
    """Return median and quartiles; None where the clock was too coarse to see any time."""
    spread = timing.spread(clock) if timing else None
    return spread if spread and spread.median > 0 else None


def _memory(lines: Iterable[Measurement]) -> Memory | None:
    """Return the last measured memory, else the last predicted one."""
    known = [line.memory for line in lines if line.memory]
    measured = [memory for memory in known if memory.measured_bytes]
    return (measured or known or [None])[-1]


def _versions(where: Environment) -> str | None:
    names = [name for name in ("jax", "lra-bench") if name in where.versions]
    return ", ".join(f"{name} {where.versions[name]}" for name in names) or None
