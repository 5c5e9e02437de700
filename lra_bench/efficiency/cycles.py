"""The time of a call by the estimate of a TPU's compiler, from the text of its program.

The text carries "estimated_cycles" at most operations. Operations run one after the other, so their
sum is the time of a call; a loop counts as often as it runs, and of a conditional the longest
branch counts. Copies that run beside other work carry no estimate and are not counted.
"""

import functools
import re
from dataclasses import dataclass

from lra_bench.efficiency.hlo import Computation, Operation, Scope, read, trips
from lra_bench.efficiency.measurement import EstimatedTime

# They make no work, or start and end a copy that runs beside other work.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier", "copy-start", "copy-done", "slice-start", "slice-done",
    "async-update", "async-done",
}  # fmt: skip
_FREE_CALLS = {"AllocateBuffer", "ConcatBitcast"}
# Their time has little to do with how many bytes they touch.
_OPAQUE = {"sort", "custom-call", "while", "unread"}
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
# The compiler writes 2^63 where it knows no better.
_UNKNOWN = 2**62
# Operations without an estimate may take this share of the cycles, by the bytes that they touch.
# The compiler gives none to changes of layout, embedding look-ups and exchanges between devices.
NEGLIGIBLE = 0.1


@dataclass(frozen=True)
class Clock:
    """The speed of a device.

    Attributes:
        hertz: cycles a second.
        bytes_per_second: of its main memory.
    """

    hertz: float
    bytes_per_second: float


# Of a device as the compiler sees it: one core of a v2, v3 and v4 chip, a whole chip of the others.
# v2 and v3: Jouppi et al. 2020, A Domain-Specific Supercomputer for Training DNNs; v4: Jouppi et
# al. 2023, arXiv:2304.01433; v5e, v5p and v6e: the memory speeds and peak rates that Google Cloud
# publishes, and the operations of their matrix units in a cycle (2^17, 2^18, 2^19).
CLOCKS = {
    "tpu-v2": Clock(0.70e9, 350e9),
    "tpu-v3": Clock(0.94e9, 450e9),
    "tpu-v4": Clock(1.05e9, 600e9),
    "tpu-v5e": Clock(1.50e9, 819e9),
    "tpu-v5p": Clock(1.75e9, 2_765e9),
    "tpu-v6e": Clock(1.75e9, 1_640e9),
}


@dataclass(frozen=True)
class _Cost:
    """The cost of some operations.

    Attributes:
        cycles: the sum of the estimates.
        missing: how many operations of the text have none.
        touched: bytes that those read and write, as often as they run.
        opaque: whether one of those may take any time.
    """

    cycles: int = 0
    missing: int = 0
    touched: int = 0
    opaque: bool = False

    def __add__(self, other: "_Cost") -> "_Cost":
        return _Cost(
            self.cycles + other.cycles,
            self.missing + other.missing,
            self.touched + other.touched,
            self.opaque or other.opaque,
        )

    def either(self, other: "_Cost") -> "_Cost":
        """Return the cost of one of two branches, the longer one."""
        return _Cost(
            max(self.cycles, other.cycles),
            self.missing + other.missing,
            max(self.touched, other.touched),
            self.opaque or other.opaque,
        )

    def times(self, turns: int) -> "_Cost":
        """Return the cost of so many runs."""
        return _Cost(self.cycles * turns, self.missing, self.touched * turns, self.opaque)


def estimate(text: str, clock: Clock) -> EstimatedTime:
    """Return the time of a call by the compiler's estimate.

    Args:
        text: of the compiled program of one device.
        clock: of that device.

    Returns:
        `cycles` and `seconds` are None where operations without an estimate matter: a sort, a
        kernel of its own, a loop of unknown length, or such that touch so many bytes that these
        alone would take more than a tenth of the cycles known, at the speed of the main memory.

    Raises:
        ValueError: the text is not that of a program.
    """
    program = read(text)
    cost = _of_all(Scope(program, program.computations[program.entry], {}))
    waiting = cost.touched / clock.bytes_per_second * clock.hertz  # in cycles
    matters = cost.opaque or not cost.cycles or waiting > NEGLIGIBLE * cost.cycles
    cycles = None if matters else cost.cycles
    seconds = None if cycles is None else cycles / clock.hertz
    return EstimatedTime(seconds=seconds, cycles=cycles, without=cost.missing, hertz=clock.hertz)


def _of_all(scope: Scope) -> _Cost:
    """Return the cost of a computation."""
    costs = (_of(scope, operation) for operation in scope.computation.operations.values())
    return sum(costs, _Cost())


def _of(scope: Scope, operation: Operation) -> _Cost:
    """Return the cost of an operation, and of what it runs."""
    if operation.opcode == "while":
        return _of_loop(scope, operation)
    if operation.opcode == "conditional":
        branches = (_of_all(scope.called(name)) for name in operation.branches())
        return functools.reduce(_Cost.either, branches)
    if operation.opcode == "call":
        return _of_all(scope.called(operation.called("to_apply")[0]))
    if operation.opcode == "async-start":
        return _of_all(scope.called(operation.called("calls")[0]))
    return _of_one(scope.computation, operation)


def _of_loop(scope: Scope, loop: Operation) -> _Cost:
    turns, fixed = trips(scope, loop), scope.parts_of(loop)
    parts = (*loop.called("condition"), *loop.called("body"))
    once = sum((_of_all(scope.called(name, fixed)) for name in parts), _Cost())
    return once + _Cost(missing=1, opaque=True) if turns is None else once.times(turns)


def _of_one(computation: Computation, operation: Operation) -> _Cost:
    """Return the cost of an operation that runs no other."""
    if _is_free(operation):
        return _Cost()
    found = _CYCLES.search(operation.rest)
    if found and int(found[1]) < _UNKNOWN:
        return _Cost(int(found[1]))
    touched = _touched(computation, operation)
    return _Cost(missing=1, touched=touched, opaque=operation.opcode in _OPAQUE)


def _touched(computation: Computation, operation: Operation) -> int:
    """Return the bytes that an operation reads and writes; slices touch only their own part."""
    sizes = [each.size for each in computation.operands(operation)]
    if operation.opcode == "dynamic-slice":
        return 2 * operation.size
    if operation.opcode == "dynamic-update-slice":  # in place
        return 2 * sizes[1]
    return operation.size + sum(sizes)


def _is_free(operation: Operation) -> bool:
    """Return whether an operation makes no work to speak of, such as one on a single number."""
    if operation.opcode == "custom-call":
        return operation.attribute("custom_call_target") in _FREE_CALLS
    if operation.opcode in _FREE:
        return True
    is_scalar = all(count <= 1 for _, count in operation.arrays)
    return is_scalar and operation.opcode not in _OPAQUE and not _CYCLES.search(operation.rest)
