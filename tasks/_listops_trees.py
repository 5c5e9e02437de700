"""Random ListOps expressions with their values, many at a time.

The distribution is that of the reference generator (google-research/long-range-arena,
lra_benchmarks/data/listops.py): a node above the depth limit is an operator with probability
1/4, with 2 to `max_args` arguments, uniform operator and digits; an expression counts if its
length, an operator and its end mark being 2 and a digit 1, lies strictly between the limits.

Trees grow breadth first, all trees of a batch at once, one array a depth. Children lie in the
order of their parents, so that a parent's value is a reduction over a run of the next array.
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
    """Lengths strictly between `min_length` and `max_length`; depth and arguments at most."""

    min_length: int = 500
    max_length: int = 2000
    max_depth: int = 10
    max_args: int = 10


@dataclass
class Level:
    """The nodes of one depth: which are operators, and how many arguments each of these has."""

    inner: np.ndarray
    arity: np.ndarray


def generate(
    rng: np.random.Generator, count: int, limits: Limits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw `count` independent expressions.

    Returns:
        tokens uint8 (count, max_length), padded; arities uint8, the same shape, 0 where there is
        no operator; values uint8 (count,).

    Raises:
        ValueError: expressions of such lengths practically don't occur.
    """
    parts, found, fruitless = [], 0, 0
    while found < count:
        levels, trees = _grow(rng, limits)
        found += trees
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
    """Blocks of (tokens, values) without end; block i depends on (seed, split, i) alone."""
    index = 0
    while True:
        tokens, _, values = generate(np.random.default_rng([seed, split, index]), size, limits)
        yield tokens, values
        index += 1


def _grow(rng: np.random.Generator, limits: Limits) -> tuple[list[Level], int]:
    """The shapes of the acceptable trees of one batch, and their count.

    Only roots that are operators are drawn: a digit alone is always too short. A tree that is
    too long already stops growing, and the last depth, all digits, is only counted.
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
    """Leave out the other trees, and close with the depth that holds only digits."""
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
    """Fill the shapes with symbols; fold values and sizes upwards, then positions downwards."""
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
    tokens, arities = _place(levels, symbols[::-1], sizes[::-1], trees, width)
    return tokens, arities, value


def _starts(arity: np.ndarray) -> np.ndarray:
    """Where each operator's run of arguments begins in the next depth."""
    return np.cumsum(arity, dtype=np.int32) - arity


def _evaluate(
    operator: np.ndarray, arity: np.ndarray, start: np.ndarray, child: np.ndarray
) -> np.ndarray:
    """The operators' values; operator i's arguments are child[start[i] : start[i] + arity[i]].

    MED is the floor of the median, SM the sum modulo 10.
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


def _place(
    levels: list[Level],
    symbols: list[np.ndarray],
    sizes: list[np.ndarray],
    trees: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Write each node at its place in the expression, and each operator's end mark."""
    tokens = np.zeros(trees * width, np.uint8)
    arities = np.zeros(trees * width, np.uint8)
    position = np.arange(trees, dtype=np.int32) * width
    for depth, (level, symbol, size) in enumerate(zip(levels, symbols, sizes, strict=True)):
        tokens[position] = symbol
        if not len(level.arity):
            break
        place = position[level.inner]
        arities[place] = level.arity
        tokens[place + size[level.inner] - 1] = END
        before = np.cumsum(sizes[depth + 1], dtype=np.int32) - sizes[depth + 1]
        position = np.repeat(place + 1 - before[_starts(level.arity)], level.arity) + before
    return tokens.reshape(trees, width), arities.reshape(trees, width)


def to_source(tokens: np.ndarray, arities: np.ndarray) -> str:
    """One expression as the release writes it: "( ( ( [MAX 1 ) 2 ) ] )"."""
    length = np.count_nonzero(tokens)
    words = _SOURCE_WORDS[tokens[:length], arities[:length]]
    return " ".join(words.tolist()).removesuffix(" )")  # the root is nobody's argument


def _source_words() -> np.ndarray:
    """Words by (token, arity): n + 1 brackets open before an operator of n arguments, one closes
    behind each argument and one behind the end mark.
    """
    words = np.empty((len(SYMBOLS), 256), object)
    for token, symbol in enumerate(SYMBOLS):
        for arity in range(256):
            words[token, arity] = "( " * (arity + 1) + symbol
    words[DIGIT_0:MIN, 0] = [f"{digit} )" for digit in range(10)]
    words[END, 0] = "] ) )"
    return words


_SOURCE_WORDS = _source_words()
