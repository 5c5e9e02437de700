"""The measurement of a cell, from the process that makes it to a line of efficiency.jsonl.

No heavy imports: the measuring process starts with this module.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from lra_bench.efficiency.cells import Cell
from lra_bench.runtime.environment import Environment

SCHEMA = 1
Status = Literal["ok", "out_of_memory", "timed_out", "crashed", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
Clock = Literal["wall", "cpu"]
CLOCKS: tuple[Clock, ...] = get_args(Clock)


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of the seconds of a call."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Samples:
    """Seconds of a call in ascending order: all samples, or of many as many quantiles as are kept.

    Attributes:
        wall: by the wall clock.
        cpu: of all threads together.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    def of(self, clock: Clock) -> tuple[float, ...]:
        """Return the samples of one clock, in seconds."""
        return self.cpu if clock == "cpu" else self.wall


@dataclass(frozen=True)
class Timing:
    """The time that a call takes.

    Attributes:
        repeats: number of samples taken.
        calls_per_repeat: calls in a sample.
        wall: seconds of a call by the wall clock.
        cpu: seconds of a call, of all threads together.
        samples: the samples that were kept; None in old lines.
    """

    repeats: int | None
    calls_per_repeat: int | None
    wall: Spread
    cpu: Spread
    samples: Samples | None = None

    def spread(self, clock: Clock) -> Spread:
        """Return median and quartiles of one clock."""
        return self.cpu if clock == "cpu" else self.wall

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = asdict(self)
        if self.samples is None:
            del values["samples"]
        return values


@dataclass(frozen=True)
class EstimatedTime:
    """The time of a call by the compiler's estimate, for a program that was not run.

    Attributes:
        seconds: of a call; None where operations without an estimate matter.
        cycles: the same in cycles of the device.
        without: how many operations of the program have no estimate.
        hertz: the device's cycles a second.
    """

    seconds: float | None
    cycles: int | None = None
    without: int | None = None
    hertz: float | None = None


@dataclass(frozen=True)
class Memory:
    """The memory of a program, in bytes of one device.

    Attributes:
        predicted_bytes: by the compiler: arguments + output + temporary - alias.
        argument_bytes, output_bytes, temp_bytes: parts of it, by the compiler.
        alias_bytes: outputs that reuse the memory of arguments.
        measured_bytes: the peak of a call; None where none was made.
        method: how it was measured: "rss", the resident set, or "allocator", of the device.
    """

    predicted_bytes: int | None
    argument_bytes: int | None = None
    output_bytes: int | None = None
    temp_bytes: int | None = None
    alias_bytes: int | None = None
    measured_bytes: int | None = None
    method: str | None = None

    @property
    def peak_bytes(self) -> int | None:
        """Return the measured bytes, else the predicted ones."""
        return self.measured_bytes or self.predicted_bytes


@dataclass(frozen=True)
class Measurement:
    """One visit to a cell: a line of efficiency.jsonl. Unknown or absent parts are None.

    Attributes:
        cell: what was measured.
        machine: names the devices; lines of one machine may stand in one table.
        round: of the sweep, from 1 on; None if the cell was only tried, or not run.
        status: how the visit ended.
        error: why it did not end well.
        inferred_from: the shorter length, in tokens, that ran out of memory or time, for which
            this one was not run.
        time_limit: seconds that the visit, or that to the shorter length, had and that were not
            enough. Lines of other endings lack it, and so do old lines.
        bytes_asked: of the allocation that was refused, or of the whole program if it was only
            compiled.
        timing: the time of a call.
        compile_seconds: time to compile; None if the program was read from a cache.
        parameters: learned numbers of the program.
        flops: operations of a call, on all devices together, loops as often as they run.
        xla_flops, xla_bytes: XLA's own counts of a device; it counts the body of a loop once.
        memory: bytes of a device.
        estimate: the time by the compiler's estimate; never a measured time. Lines of programs that
            have none lack the key.
        kernels: that a call launches on a GPU, by the compiled program; see `count_kernels`. Lines
            of other devices lack it.
        environment: where it was measured.
        finished: when, in UTC, as ISO 8601.
    """

    cell: Cell
    machine: str
    round: int | None = None
    status: Status = "failed"
    error: str | None = None
    inferred_from: int | None = None
    time_limit: float | None = None
    bytes_asked: int | None = None
    timing: Timing | None = None
    compile_seconds: float | None = None
    parameters: int | None = None
    flops: float | None = None
    xla_flops: float | None = None
    xla_bytes: float | None = None
    memory: Memory | None = None
    estimate: EstimatedTime | None = None
    kernels: int | None = None
    environment: Environment | None = None
    finished: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values in the order of a line, ready for JSON."""
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        for name in ("time_limit", "estimate", "kernels"):
            if values[name] is None:
                del values[name]
        return {"schema": SCHEMA, **values}


def _plain(value: Any) -> Any:
    """Return a part of a measurement as plain values."""
    if isinstance(value, Memory | EstimatedTime):
        return asdict(value)
    return value.as_dict() if isinstance(value, Cell | Timing | Environment) else value
