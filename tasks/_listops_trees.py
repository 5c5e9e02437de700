"""Generate random ListOps expressions with their values, many at a time.

The distribution is that of the reference generator (google-research/long-range-arena,
lra_benchmarks/data/listops.py): a node above the depth limit is an operator with probability
1/4, with 2 to `max_args` arguments; operators and digits are uniform. An expression is accepted
if its length lies strictly between the limits; a digit counts 1, an operator with its end mark 2.

Trees grow breadth first, all trees of a batch at once, one array per depth. Children are in the
order of their parents, so a parent's value is a reduction over a run of the next depth's array.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# The ids are part of every stored data set and checkpoint: never reorder.
SYMBOLS = ("<pad>", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
PAD, DIGIT_0, MIN, MAX, MED, SM, END = 0, 1, 11, 12, 13, 14, 15

_TREES_A_BATCH = 512
_FRUITLESS_BATCHES = 200


@dataclass(frozen=True)
class Limits:
    """The limits of an expression.

    Attributes:
        min_length, max_length: its length lies strictly between them.
        max_depth: the largest depth of nesting.
        max_args: the largest number of arguments of an operator.
    """

    min_length: int = 500
    max_length: int = 2000
    max_depth: int = 10
    max_args: int = 10


@dataclass
class Level:
    """The nodes of one depth.

    Attributes:
        inner: whether each node is an operator, bool (nodes,).
        arity: the number of arguments of each operator, uint8 (operators,).
    """

    inner: np.ndarray
    arity: np.ndarray


def generate(
    rng: np.random.Generator, count: int, limits: Limits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw `count` independent expressions.

    Returns:
        tokens uint8 (count, max_length), padded; arities uint8 (count, max_length), 0 where
        there is no operator; values uint8 (count,).

    Raises:
        ValueError: many batches held no expression within the limits.
    """
    parts, accepted, fruitless = [], 0, 0
    while accepted < count:
        levels, trees = _grow(rng, limits)
        accepted += trees
        fruitless = 0 if trees else fruitless + 1
        if fruitless == _FRUITLESS_BATCHES:
            raise ValueError(f"no expression within {limits} in {fruitless * _TREES_A_BATCH} tries")
        if trees:
            parts.append(_lay_out(rng, levels, trees, limits.max_length))
    tokens, arities, values = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    return tokens, arities, values


def blocks(
    seed: int, split: int, size: int, limits: Limits
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield endless blocks of (tokens, values); block i depends on (seed, split, i) only."""
    index = 0
    while True:
        tokens, _, values = generate(np.random.default_rng([seed, split, index]), size, limits)
        yield tokens, values
        index += 1


def _grow(rng: np.random.Generator, limits: Limits) -> tuple[list[Level], int]:
    """Draw the shapes of one batch of trees; return the accepted ones and their number.

    Every root is an operator: a single digit is too short, except for `min_length` 0, where it is
    left out all the same. A tree that is already too long stops growing. The last depth holds only
    digits and is only counted.
    """
    tree = np.arange(_TREES_A_BATCH, dtype=np.int32)
    inner = np.ones(_TREES_A_BATCH, bool)
    lengths = np.ones(_TREES_A_BATCH)
    grown = []
    for _ in range(1, limits.max_depth):
        parent = tree[inner]
        arity = rng.integers(2, limits.max_args + 1, len(parent), np.uint8)
        grown.append((tree, inner, parent, arity))
        lengths += np.bincount(parent, arity + 1.0, _TREES_A_BATCH)
        going = (lengths < limits.max_length)[parent]
        tree = np.repeat(parent[going], arity[going])
        inner = rng.integers(0, 4, len(tree), np.uint8) == 0
    return _select(grown, (limits.min_length < lengths) & (lengths < limits.max_length))


def _select(grown: list[tuple[np.ndarray, ...]], accepted: np.ndarray) -> tuple[list[Level], int]:
    """Keep the accepted trees, and add the last depth, which holds only digits."""
    levels = []
    for tree, inner, parent, arity in grown:
        levels.append(Level(inner[accepted[tree]], arity[accepted[parent]]))
        if not len(levels[-1].arity):
            break
    else:
        digits = int(levels[-1].arity.sum(dtype=np.int64))
        levels.append(Level(np.zeros(digits, bool), np.empty(0, np.uint8)))
    return levels, int(accepted.sum())


def _lay_out(
    rng: np.random.Generator, levels: list[Level], trees: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill the shapes with symbols: compute values and sizes upwards, then positions downwards."""
    symbols: list[np.ndarray] = []
    sizes: list[np.ndarray] = []
    value, size = np.empty(0, np.uint8), np.empty(0, np.int32)
    for level in reversed(levels):
        operator = rng.integers(MIN, SM + 1, len(level.arity), np.uint8)
        child_value, child_size = value, size
        value = rng.integers(0, 10, len(level.inner), np.uint8)
        size = np.ones(len(level.inner), np.int32)
        symbol = value + np.uint8(DIGIT_0)
        if len(operator):
            start = _starts(level.arity)
            value[level.inner] = _evaluate(operator, level.arity, start, child_value)
            size[level.inner] = 2 + np.add.reduceat(child_size, start)
            symbol[level.inner] = operator
        symbols.append(symbol)
        sizes.append(size)
    tokens, arities = _write_nodes(levels, symbols[::-1], sizes[::-1], trees, width)
    return tokens, arities, value


def _starts(arity: np.ndarray) -> np.ndarray:
    """Return where each operator's run of arguments begins in the next depth."""
    return np.cumsum(arity, dtype=np.int32) - arity


def _evaluate(
    operator: np.ndarray, arity: np.ndarray, start: np.ndarray, child: np.ndarray
) -> np.ndarray:
    """Return the operators' values.

    Operator i has the arguments child[start[i] : start[i] + arity[i]]. MED is the floor of the
    median, SM the sum modulo 10.
    """
    # max(9 - x) = 9 - min(x): one reduction serves both.
    flip = np.repeat(operator == MIN, arity)
    largest = np.maximum.reduceat(np.where(flip, 9 - child, child), start)
    result = np.where(operator == MIN, 9 - largest, largest)
    total = np.add.reduceat(child, start, dtype=np.uint16) % 10
    result = np.where(operator == SM, total.astype(np.uint8), result)
    median = operator == MED
    result[median] = _medians(arity[median], start[median], child)
    return result


def _medians(arity: np.ndarray, start: np.ndarray, child: np.ndarray) -> np.ndarray:
    if not len(arity):
        return np.empty(0, np.uint8)
    column = np.arange(arity.max())
    index = np.minimum(start[:, None] + column, len(child) - 1)
    runs = np.sort(np.where(column < arity[:, None], child[index], 255), axis=1)
    row = np.arange(len(arity))
    return (runs[row, (arity - 1) // 2] + runs[row, arity // 2]) // 2


def _write_nodes(
    levels: list[Level],
    symbols: list[np.ndarray],
    sizes: list[np.ndarray],
    trees: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Write each node and each operator's end mark at its position in the expression."""
    tokens = np.zeros(trees * width, np.uint8)
    arities = np.zeros(trees * width, np.uint8)
    position = np.arange(trees, dtype=np.int32) * width
    for depth, (level, symbol, size) in enumerate(zip(levels, symbols, sizes, strict=True)):
        tokens[position] = symbol
        if not len(level.arity):
            break
        operators = position[level.inner]
        arities[operators] = level.arity
        tokens[operators + size[level.inner] - 1] = END
        before = np.cumsum(sizes[depth + 1], dtype=np.int32) - sizes[depth + 1]
        position = np.repeat(operators + 1 - before[_starts(level.arity)], level.arity) + before
    return tokens.reshape(trees, width), arities.reshape(trees, width)


def to_source(tokens: np.ndarray, arities: np.ndarray) -> str:
    """Format one expression as the release does: "( ( ( [MAX 1 ) 2 ) ] )"."""
    length = np.count_nonzero(tokens)
    words = _SOURCE_WORDS[tokens[:length], arities[:length]]
    return " ".join(words.tolist()).removesuffix(" )")  # the root is no argument


def _source_words() -> np.ndarray:
    """Return the words by (token, arity).

    n + 1 brackets open before an operator of n arguments; one closes after each argument and one
    after the end mark.
    """
    words = np.empty((len(SYMBOLS), 256), object)
    for token, symbol in enumerate(SYMBOLS):
        for arity in range(256):
            words[token, arity] = "( " * (arity + 1) + symbol
    words[DIGIT_0:MIN, 0] = [f"{digit} )" for digit in range(10)]
    words[END, 0] = "] ) )"
    return words


_SOURCE_WORDS = _source_words()
