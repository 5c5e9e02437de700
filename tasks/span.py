"""The task Span: the class depends on tokens that are at least a chosen distance apart."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lra_bench.contracts import Block, Range, Reading, Source, check_ranges
from lra_bench.registry import register_task
from lra_bench.tasks._generated import Generated
from lra_bench.tasks._shuffle import shuffled

_BLOCK = 1024
# Token ids; the values follow.
_BLANK, _MARK, _FIRST = 0, 1, 2
_INVALID = -1


@register_task("span")
@dataclass(frozen=True)
class Span(Generated):
    """Find the value whose places are marked; the marks are at least `span` tokens away.

    A sequence has n = `num_slots` values, k - 1 blanks with k = `span`, and n places. A place has a
    mark if the value n + k - 1 tokens before it is the one that is asked for, which is the class;
    else it is blank. More blanks follow up to `length` tokens. Each value is there equally often,
    in any order. So values and marks are at least k tokens apart.

    The values alone say nothing about the class, because each is equally often there; the marks
    alone say nothing, because any value may have these places. A window of up to k tokens never
    holds values together with places of marks. Whatever it shows, at whatever position, all classes
    are equally probable; a window of k + 1 tokens can tell something. So a model that classifies by
    the vector of one token (pooling "cls"), which depends on a window of k tokens, stays at chance
    whatever it computes. Windows grow with the depth: if a token sees w tokens on either side, it
    depends on 2 d w + 1 tokens after d layers.

    This does not hold for a mean over all tokens, a sum of functions of all windows. If logits are
    linear in that mean, their expected cross-entropy is that of chance or higher, but a perceptron
    can relate the parts of the sum: with 8 values, one layer of blocks of 16 tokens reached 72 %.

    Other tasks with a minimal time lag, such as the adding problem and the temporal order of two
    symbols (Hochreiter and Schmidhuber), need no token to know of another: a sum over tokens and
    their positions solves them.

    Attributes:
        span: least distance of marks and values, in tokens.
        num_slots: values, and places of marks.
        num_classes: kinds of values.
        length: tokens of a sequence.
        train_size, validation_size, test_size: examples of each split.
        seed: of the generator.

    References:
        Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, Section 5; Tay et al. 2021,
        arXiv:2011.04006, Section 2.3, for the required attention span.
    """

    span: Annotated[int, Range(1, 2**20)] = 65
    num_slots: Annotated[int, Range(2, 4_096)] = 32
    num_classes: Annotated[int, Range(2, 256)] = 4
    length: Annotated[int, Range(4, 2**21)] = 128
    train_size: Annotated[int, Range(1, 10**8)] = 40_000
    validation_size: Annotated[int, Range(1, 10**8)] = 2_000
    test_size: Annotated[int, Range(1, 10**8)] = 2_000
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0

    name: ClassVar[str] = "span"
    pad_id: ClassVar[int | None] = None
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        Source("generate", splits="all possible sequences in a random order, cut into the splits"),
    )
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.num_slots % self.num_classes:
            raise ValueError(
                f"num_slots={self.num_slots}: must be a multiple of "
                f"num_classes={self.num_classes}, so that all classes are equally frequent"
            )
        if self.length < self._used:
            raise ValueError(
                f"length={self.length}: must be at least {self._used}, which is "
                f"2 num_slots + span - 1"
            )
        needed, possible = sum(self.sizes("generate").values()), self._orders * self.num_classes
        if needed > possible:
            raise ValueError(
                f"{needed:,} examples: only {possible:,} different ones exist with "
                f"num_slots={self.num_slots} and num_classes={self.num_classes}"
            )

    @property
    def _used(self) -> int:
        """Return the tokens from the first value to the last place of the mark."""
        return 2 * self.num_slots + self.span - 1

    @property
    def _orders(self) -> int:
        """Return the number of orders of the values."""
        each = self.num_slots // self.num_classes
        return math.factorial(self.num_slots) // math.factorial(each) ** self.num_classes

    @property
    def vocab_size(self) -> int:
        """Return the number of values, and two for blank and mark."""
        return _FIRST + self.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the values as texts."""
        return tuple(map(str, range(self.num_classes)))

    @property
    def max_len(self) -> int:
        """Return the length of a sequence, in tokens."""
        return self.length

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 or uint16 (n, length), classes int64 (n,))."""
        first = 0
        for split, size in self.sizes(reading.source).items():
            for start in range(0, size, _BLOCK):
                numbers = range(first + start, first + min(start + _BLOCK, size))
                yield split, *self.examples(numbers)
                reading.report(f"{split} sequences", min(start + _BLOCK, size), size)
            first += size

    def examples(self, numbers: range) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens (n, length) and classes (n,) of the examples of these numbers.

        Different numbers below the number of possible sequences have different tokens.
        """
        dtype = np.uint8 if self.vocab_size <= 256 else np.uint16
        tokens = np.full((len(numbers), self.length), _BLANK, dtype)
        slots, classes = self.num_slots, np.zeros(len(numbers), np.int64)
        for row, number in enumerate(numbers):
            place = shuffled(number, self._orders * self.num_classes, self.seed)
            values, classes[row] = self._order(place // self.num_classes), place % self.num_classes
            tokens[row, :slots] = _FIRST + values
            tokens[row, self._used - slots : self._used][values == classes[row]] = _MARK
        return tokens, classes

    def _order(self, number: int) -> np.ndarray:
        """Return the order of the values that has this number among all orders."""
        left = [self.num_slots // self.num_classes] * self.num_classes
        orders, values = self._orders, np.zeros(self.num_slots, np.int64)
        for slot in range(self.num_slots):
            # Of the orders that remain, those that go on with each value, one value after another.
            each = [orders * count // (self.num_slots - slot) for count in left]
            value = 0
            while number >= each[value]:
                number -= each[value]
                value += 1
            values[slot], orders = value, each[value]
            left[value] -= 1
        return values

    def compute_labels(self, tokens: np.ndarray) -> np.ndarray:
        """Return the classes of sequences, int64 (n,); -1 where marks stand for no one value."""
        values = tokens[:, : self.num_slots].astype(np.int64) - _FIRST
        marked = tokens[:, self._used - self.num_slots : self._used] == _MARK
        classes = np.take_along_axis(values, marked.argmax(axis=1)[:, None], axis=1)
        valid = marked.any(axis=1) & (marked == (values == classes)).all(axis=1)
        return np.where(valid & (classes[:, 0] >= 0), classes[:, 0], _INVALID)

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Encode the value that is asked for, float32 (n, num_classes)."""
        found = self.compute_labels(tokens)[:, None] == np.arange(self.num_classes)
        return found.astype(np.float32)

    def to_text(self, tokens: np.ndarray) -> str:
        """Return the values as numbers, the mark as "x", and blanks as dots."""
        signs = (".", "x", *self.class_names)
        return " ".join(signs[token] for token in tokens)
