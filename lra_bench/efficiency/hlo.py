"""Read the text of a compiled program: its computations, and how often each loop runs."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_BEGIN = re.compile(r"^(?P<entry>ENTRY )?%(?P<name>[^ (]+) \(.*\{$")
_COMMENT = re.compile(r"/\*.*?\*/")
_LINE = re.compile(
    r"^\s+(?P<root>ROOT )?%(?P<name>\S+) = (?P<shape>.*?) (?P<opcode>[a-z][a-z0-9-]*)"
    r"\((?P<operands>[^()]*)\)(?P<rest>.*)$"
)
_NAME = re.compile(r"%([^ ,(){}]+)")
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([0-9,]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Operation:
    """One line of a computation.

    Attributes:
        name: unique in its computation.
        shape: of the result, as the program prints it.
        opcode: such as "fusion".
        operands: their names; for a parameter or a constant, what stands in the brackets.
        rest: what follows the operands: attributes, and the compiler's notes; all of a line whose
            form is unknown.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    rest: str

    def called(self, attribute: str) -> list[str]:
        """Return the names of the computations that an attribute holds, such as "body"."""
        found = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%[^ ,]+)", self.rest)
        return _NAME.findall(found[1]) if found else []

    def branches(self) -> list[str]:
        """Return the names of the computations of which a conditional runs one."""
        roles = ("branch_computations", "true_computation", "false_computation")
        return [name for role in roles for name in self.called(role)]

    def attribute(self, name: str) -> str:
        """Return the word that an attribute holds; "" if there is none."""
        found = re.search(rf"\b{name}=\"?(\w+)", self.rest)
        return found[1] if found else ""

    @property
    def arrays(self) -> list[tuple[int, int]]:
        """Return the bits of an element and the number of elements, of each array of the result."""
        return [(_bits(dtype), _count(sizes)) for dtype, sizes in _ARRAY.findall(self.shape)]

    @property
    def size(self) -> int:
        """Return the bytes of the result."""
        return sum(bits * count for bits, count in self.arrays) // 8


@dataclass(frozen=True)
class Computation:
    """A computation.

    Attributes:
        operations: by name, in the order in which they are printed.
        root: the name of the operation that makes the result.
    """

    operations: Mapping[str, Operation]
    root: str

    def operands(self, operation: Operation) -> list[Operation]:
        """Return the operations that make the operands."""
        made = (self.operations.get(name) for name in operation.operands)
        return [each for each in made if each is not None]


@dataclass(frozen=True)
class ProgramText:
    """The computations of a compiled program.

    Attributes:
        computations: by name.
        entry: the name of the one that a call runs.
    """

    computations: Mapping[str, Computation]
    entry: str


def read(text: str) -> ProgramText:
    """Return the computations in the text of a compiled program.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry, name, root = "", "", ""
    operations: dict[str, Operation] = {}
    for line in text.splitlines():
        if begin := _BEGIN.match(line):
            name, root, operations = begin["name"], "", {}
            entry = name if begin["entry"] else entry
        elif line.startswith("}") and name:
            computations[name] = Computation(operations, root)
            name = ""
        elif name and (operation := _operation(line)):
            operations[operation.name] = operation
            root = operation.name if line.lstrip().startswith("ROOT ") else root
    if entry not in computations:
        raise ValueError("no entry computation in the text of the program")
    return ProgramText(computations, entry)


def _operation(line: str) -> Operation | None:
    """Return the operation in a line, "unread" if its form is unknown; None if there is none."""
    if " = " not in line:
        return None
    found = _LINE.match(_COMMENT.sub("", line))
    if found is None:
        name, _, rest = line.strip().removeprefix("ROOT ").partition(" = ")
        return Operation(name.lstrip("%"), "", "unread", (), rest)
    listed = found["operands"]
    names = tuple(_NAME.findall(listed)) or ((listed,) if listed else ())
    return Operation(found["name"], found["shape"], found["opcode"], names, found["rest"])


def _bits(dtype: str) -> int:
    """Return the bits of an element: of "bf16" 16, of "pred" 8, of "token" 0."""
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) if digits else 8 if dtype == "pred" else 0


def _count(sizes: str) -> int:
    return math.prod(int(size) for size in sizes.split(",")) if sizes else 1


@dataclass(frozen=True)
class Scope:
    """A computation, and the parts of its parameter whose values are known.

    Attributes:
        text: the program.
        computation: one of its computations.
        parts: whole numbers in the tuple that it takes, by their index.
    """

    text: ProgramText
    computation: Computation
    parts: Mapping[int, int]

    def number(self, name: str) -> int | None:
        """Return the whole number that an operation makes, if it is a known constant."""
        made = self.computation.operations.get(name)
        if made is None:
            return None
        if made.opcode == "constant":
            return int(made.operands[0]) if re.fullmatch(r"-?\d+", made.operands[0]) else None
        if made.opcode == "get-tuple-element":
            index = self.index(name)
            return None if index is None else self.parts.get(index)
        return self.number(made.operands[0]) if made.opcode in ("copy", "bitcast") else None

    def index(self, name: str) -> int | None:
        """Return which part of the parameter an operation is; None if it is something else."""
        made = self.computation.operations.get(name)
        if made is None:
            return None
        if made.opcode in ("copy", "bitcast"):
            return self.index(made.operands[0])
        whole = self.computation.operations.get(made.operands[0]) if made.operands else None
        if made.opcode != "get-tuple-element" or whole is None or whole.opcode != "parameter":
            return None
        return int(made.attribute("index"))

    def called(self, name: str, parts: Mapping[int, int] | None = None) -> "Scope":
        """Return the scope of another computation, which takes a tuple with known parts."""
        return Scope(self.text, self.text.computations[name], parts or {})

    def parts_of(self, loop: Operation) -> dict[int, int]:
        """Return the numbers in a loop's tuple that its body does not change, by their index."""
        starts, body = self.starts(loop), self.called(loop.called("body")[0])
        last = body.computation.operations[body.computation.root]
        kept = {k for k, name in enumerate(last.operands) if body.index(name) == k}
        return {k: value for k, value in starts.items() if k in kept}

    def starts(self, loop: Operation) -> dict[int, int]:
        """Return the whole numbers in the tuple with which a loop starts, by their index."""
        made = self.computation.operations.get(loop.operands[0])
        names = made.operands if made is not None and made.opcode == "tuple" else ()
        values = {k: self.number(name) for k, name in enumerate(names)}
        return {k: value for k, value in values.items() if value is not None}


def trips(scope: Scope, loop: Operation) -> int | None:
    """Return how often the body of a loop runs; None if the text does not tell.

    The compiler's note is believed. Otherwise the loop must count from a constant to a constant, by
    a constant step.

    Args:
        scope: where the loop is.
        loop: an operation "while".
    """
    if note := _TRIPS.search(loop.rest):
        return int(note[1])
    fixed = scope.parts_of(loop)
    condition = scope.called(loop.called("condition")[0], fixed)
    root = condition.computation.operations[condition.computation.root]
    if root.opcode != "compare" or len(root.operands) != 2:
        return None
    counter, end = condition.index(root.operands[0]), condition.number(root.operands[1])
    if counter is None or end is None:
        return None
    start = scope.starts(loop).get(counter)
    step = _step(scope.called(loop.called("body")[0], fixed), counter)
    if start is None or not step:
        return None
    return _turns(start, end, step, root.attribute("direction"))


def _step(body: Scope, counter: int) -> int | None:
    """Return what each turn of a loop adds to its counter; None if that is unknown."""
    last = body.computation.operations[body.computation.root]
    made = body.computation.operations.get(last.operands[counter])
    if made is None or made.opcode not in ("add", "subtract"):
        return None
    one, other = made.operands
    if made.opcode == "add" and body.index(one) != counter:
        one, other = other, one
    value = body.number(other)
    if body.index(one) != counter or value is None:
        return None
    return value if made.opcode == "add" else -value


def _turns(start: int, end: int, step: int, direction: str) -> int | None:
    """Return the turns of a loop that compares its counter with its end before each turn."""
    ways = {"LT": (1, 0), "LE": (1, 1), "GT": (-1, 0), "GE": (-1, 1)}
    if direction not in ways or step * ways[direction][0] < 0:
        return None
    sign, extra = ways[direction]
    return max(0, -(-((end - start) * sign + extra) // abs(step)))
