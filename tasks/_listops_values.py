"""Evaluate ListOps expressions by their grammar, many at a time.

    expression = digit | operator expression expression ... "]"

An operator has two arguments or more. This is independent of the generator's arithmetic: it reads
an expression from its first symbol to its last and keeps the arguments of all open operators.
"""

import numpy as np

from lra_bench.tasks._listops_trees import DIGIT_0, END, MIN, PAD, SM

INVALID = -1
_FEWEST_ARGUMENTS = 2
_BLOCK_BYTES = 32 * 2**20
_DIGITS = np.arange(10)


def evaluate(tokens: np.ndarray) -> np.ndarray:
    """Return the values of expressions, int64 (n,), from their tokens (n, l), padded at the end.

    A row that is not exactly one expression has the value `INVALID`.
    """
    deepest = max(1, int(_depths(tokens).max(initial=1)))
    rows = max(1, _BLOCK_BYTES // (20 * (deepest + 1)))
    starts = range(0, len(tokens), rows)
    values = [_Stack(tokens[s : s + rows], deepest).run() for s in starts]
    return np.concatenate(values) if values else np.empty(0, np.int64)


def _depths(tokens: np.ndarray) -> np.ndarray:
    """Return how many operators are open after each symbol, int32 (n, l)."""
    opened = (tokens >= MIN) & (tokens <= SM)
    return np.cumsum(opened.astype(np.int8) - (tokens == END), axis=1, dtype=np.int32)


class _Stack:
    """The open operators of many expressions.

    Attributes:
        tokens: (n, l).
        depth: the number of open operators, (n,).
        operator: the operators by depth, (n, depths).
        arguments: the number of arguments of each operator that have each value, (n, depths, 10);
            at depth 0 the values of whole expressions.
        valid: whether no symbol has broken the grammar so far, (n,).
    """

    def __init__(self, tokens: np.ndarray, deepest: int) -> None:
        count = len(tokens)
        self.tokens = tokens
        self.depth = np.zeros(count, np.int64)
        self.operator = np.zeros((count, deepest + 1), np.uint8)
        self.arguments = np.zeros((count, deepest + 1, 10), np.uint16)
        real = tokens != PAD
        self.valid = (tokens <= END).all(axis=1) & ~(real[:, 1:] > real[:, :-1]).any(axis=1)
        self.longest = int(real.sum(axis=1).max(initial=0))

    def run(self) -> np.ndarray:
        """Read all symbols and return the values, int64 (n,)."""
        for symbols in np.ascontiguousarray(self.tokens[:, : self.longest].T):
            self._open(np.flatnonzero((symbols >= MIN) & (symbols <= SM) & self.valid), symbols)
            self._add(np.flatnonzero((symbols >= DIGIT_0) & (symbols < MIN)), symbols)
            self._close(np.flatnonzero((symbols == END) & self.valid))
        results = self.arguments[:, 0]
        whole = self.valid & (self.depth == 0) & (results.sum(axis=1) == 1)
        return np.where(whole, results.argmax(axis=1), INVALID)

    def _open(self, rows: np.ndarray, symbols: np.ndarray) -> None:
        self.depth[rows] += 1
        self.operator[rows, self.depth[rows]] = symbols[rows]
        self.arguments[rows, self.depth[rows]] = 0

    def _add(self, rows: np.ndarray, symbols: np.ndarray) -> None:
        self.arguments[rows, self.depth[rows], symbols[rows] - DIGIT_0] += 1

    def _close(self, rows: np.ndarray) -> None:
        """Replace operators and their arguments by the value."""
        arguments = self.arguments[rows, self.depth[rows]]
        good = (self.depth[rows] > 0) & (arguments.sum(axis=1) >= _FEWEST_ARGUMENTS)
        self.valid[rows[~good]] = False
        rows, arguments = rows[good], arguments[good]
        values = _apply(self.operator[rows, self.depth[rows]], arguments.astype(np.int64))
        self.depth[rows] -= 1
        self.arguments[rows, self.depth[rows], values] += 1


def _apply(operator: np.ndarray, arguments: np.ndarray) -> np.ndarray:
    """Return the values of operators (n,) of arguments given by their counts, (n, 10)."""
    upto = np.cumsum(arguments, axis=1)
    total = upto[:, -1:]
    lower, upper = ((upto > middle // 2).argmax(axis=1) for middle in (total - 1, total))
    return np.select(
        [operator == symbol for symbol in range(MIN, SM)],
        [
            (arguments > 0).argmax(axis=1),
            9 - (arguments[:, ::-1] > 0).argmax(axis=1),
            (lower + upper) // 2,
        ],
        arguments @ _DIGITS % 10,
    )
