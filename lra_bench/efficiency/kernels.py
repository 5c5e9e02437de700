"""Count the kernels that a program for a GPU launches, in the text of the compiled program."""

from collections.abc import Iterable

from lra_bench.efficiency import hlo
from lra_bench.efficiency.hlo import Operation, Scope

# Operations that launch nothing themselves; some of them call other computations.
_NO_KERNEL = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier", "add-dependency", "async-update", "get-dimension-size",
}  # fmt: skip


def count_kernels(text: str) -> int | None:
    """Return how many kernels a call launches; None if a loop does not tell how often it runs.

    The body of a loop counts as often as it runs, and of a conditional's branches the largest
    counts. A call of a library, such as a matrix product or a sort, counts as one kernel.

    Args:
        text: of a program that XLA compiled for a GPU.
    """
    program = hlo.read(text)
    return _of_all(Scope(program, program.computations[program.entry], {}))


def _of_all(scope: Scope) -> int | None:
    return _total(_launched(scope, x) for x in scope.computation.operations.values())


def _launched(scope: Scope, operation: Operation) -> int | None:
    """Return the kernels that an operation launches."""
    if operation.opcode == "while":
        turns, body = hlo.trips(scope, operation), scope.called(operation.called("body")[0])
        once = _of_all(body)
        return None if turns is None or once is None else turns * once
    if operation.opcode == "conditional":
        branches = [_of_all(scope.called(name)) for name in operation.branches()]
        return None if None in branches else max(x or 0 for x in branches)
    if operation.opcode in ("call", "async-start"):
        names = operation.called("to_apply" if operation.opcode == "call" else "calls")
        return _total(_of_all(scope.called(name)) for name in names)
    return int(operation.opcode not in _NO_KERNEL and not operation.opcode.endswith("-done"))


def _total(counts: Iterable[int | None]) -> int | None:
    every = list(counts)
    known = [count for count in every if count is not None]
    return sum(known) if len(known) == len(every) else None
