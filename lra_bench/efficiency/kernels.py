"""Count the kernels that a program for a GPU launches, in the text of the compiled program."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

# Operations that launch nothing themselves; some of them call other computations.
_NO_KERNEL = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier", "add-dependency", "while", "conditional", "call", "async-start",
    "async-update", "get-dimension-size",
}  # fmt: skip
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_OPERATION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = .+? ([a-z][a-z0-9-]*)\((.*)$")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclass(frozen=True)
class _Operation:
    """An operation of a computation.

    Attributes:
        name: of its kind, such as "fusion".
        text: its operands and attributes.
    """

    name: str
    text: str

    def called(self, *roles: str) -> list[str]:
        """Return the computations that it calls in these roles, such as "body"."""
        names = "|".join(roles)
        found = re.findall(rf"\b(?:{names})=(?:\{{([^}}]*)\}}|%?([\w.-]+))", self.text)
        return re.findall(r"[\w.-]+", " ".join(several or one for several, one in found))


def count_kernels(text: str) -> int | None:
    """Return how many kernels a call launches; None if a loop does not say how often it runs.

    The body of a loop counts as often as it runs, and of a conditional's branches the largest
    counts. A call of a library, such as a matrix product or a sort, counts as one kernel.

    Args:
        text: of a program that XLA compiled for a GPU.
    """
    entry, computations = _parse(text)

    @functools.cache
    def count(name: str) -> int | None:
        return _total([_launched(operation, count) for operation in computations.get(name, ())])

    return count(entry)


def _parse(text: str) -> tuple[str, dict[str, list[_Operation]]]:
    """Return the name of the entry computation, and the operations of all computations."""
    entry, name = "", ""
    computations: dict[str, list[_Operation]] = {}
    for line in text.splitlines():
        if start := _COMPUTATION.match(line):
            name = start[2]
            entry = name if start[1] else entry
            computations[name] = []
        elif name and (found := _OPERATION.match(line)):
            computations[name].append(_Operation(found[1], found[2]))
    return entry, computations


def _launched(operation: _Operation, count: Callable[[str], int | None]) -> int | None:
    """Return the kernels that an operation launches; `count` is of a computation's name."""
    if operation.name == "while":
        turns = _TURNS.search(operation.text)
        body = _total([count(name) for name in operation.called("body")])
        return int(turns[1]) * body if turns and body is not None else None
    if operation.name == "conditional":
        roles = ("branch_computations", "true_computation", "false_computation")
        branches = [count(name) for name in operation.called(*roles)]
        return None if None in branches else max(x or 0 for x in branches)
    if operation.name in ("call", "async-start"):
        return _total([count(name) for name in operation.called("to_apply", "calls")])
    return int(operation.name not in _NO_KERNEL and not operation.name.endswith("-done"))


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
