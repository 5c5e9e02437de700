"""The task MQAR: pairs of a key and a value, then keys, each followed by its value."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import SPLITS, Block, Range, Reading, Source, check_ranges
from lra_bench.registry import register_task
from lra_bench.tasks._draws import permuted, shuffled
from lra_bench.tasks._generated import Generated

_CELLS_A_BLOCK = 2**20
# The number of contents that are told apart by construction, if there are more: far above any size.
_MOST_CONTENTS = 2**48
_CONTENTS, _REST, _ASKED = range(3)


@register_task("mqar")
@dataclass(frozen=True)
class Mqar(Generated):
    """Recall the values of several keys, one after the other (multi-query associative recall).

    An example has `num_pairs` keys, each with its value after it, then `gap` blank tokens, and then
    `num_queries` of the keys, again with their values. A model predicts each token from those
    before it; the values after the gap are scored. The keys of an example differ, and so do its
    values and its queries. No two examples have the same pairs in the same order. A model that
    knows which values are there and which of them were already asked for, but not which key has
    which, has one chance in the number of values left: the chance of this task.

    Attributes:
        num_pairs: pairs of a key and a value.
        num_queries: the keys that are asked for.
        num_keys, num_values: kinds of keys and of values.
        gap: blank tokens between the pairs and the queries.
        train_size, validation_size, test_size: examples of each split.
        seed: of the generator.

    References:
        Arora et al. 2023, arXiv:2312.04927, Section 3. In the authors' code (Zoology) the answers
        are no inputs, so nothing tells which values were asked for already; distances between a
        pair and its query follow a power law; most tokens after the pairs are no queries; and there
        are 8,192 kinds of tokens.
    """

    num_pairs: Annotated[int, Range(1, 1_024)] = 8
    num_queries: Annotated[int, Range(1, 1_024)] = 8
    num_keys: Annotated[int, Range(1, 2**14)] = 64
    num_values: Annotated[int, Range(2, 2**14)] = 64
    gap: Annotated[int, Range(0, 2**17)] = 0
    train_size: Annotated[int, Range(1, 10**8)] = 100_000
    validation_size: Annotated[int, Range(1, 10**8)] = 1_000
    test_size: Annotated[int, Range(1, 10**8)] = 1_000
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0

    name: ClassVar[str] = "mqar"
    objective: ClassVar[Literal["next", "masked"]] = "next"
    num_classes: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = ("sequence",)
    pad_id: ClassVar[int | None] = None
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        Source("generate", splits="no two examples have the same pairs in the same order"),
    )
    guess: ClassVar[str] = "a value that is present and was not asked for"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("num_keys", "num_values"):
            if getattr(self, name) < self.num_pairs:
                text = f"{name}={getattr(self, name)}, num_pairs={self.num_pairs}"
                raise ValueError(f"{text}: those of an example differ, so there must be as many")
        if self.num_queries > self.num_pairs:
            text = f"num_queries={self.num_queries}, num_pairs={self.num_pairs}"
            raise ValueError(
                f"{text}: each pair is asked for once, so there can be no more queries"
            )
        wanted, found = sum(self.sizes("generate").values()), math.prod(self._choices())
        if found < wanted:
            raise ValueError(
                f"the sizes need {wanted:,} different examples, but num_keys={self.num_keys}, "
                f"num_values={self.num_values}, num_pairs={self.num_pairs} give only {found:,}"
            )

    @property
    def vocab_size(self) -> int:
        """Return the number of token ids: keys, values, and the blank."""
        return self.num_keys + self.num_values + 1

    @property
    def mask_id(self) -> int:
        """Return the blank."""
        return self.vocab_size - 1

    @property
    def ordinary(self) -> tuple[int, int]:
        """Return the first and the last value."""
        return self.num_keys, self.num_keys + self.num_values - 1

    @property
    def max_len(self) -> int:
        """Return the number of tokens, which all examples share."""
        return self._first_query + 2 * self.num_queries

    @property
    def _first_query(self) -> int:
        return 2 * self.num_pairs + self.gap

    def scored(self, tokens: Any) -> Any:
        """Return which tokens are values after the gap."""
        return (tokens >= self.num_keys) & (np.arange(self.max_len) > self._first_query)

    def chance(self) -> float:
        """Return the accuracy, in [0, 1], of a model that does not know which key has which value.

        Of p values, p - j are left at query j, from 0 on, each as likely, since the order of the
        queries is random.
        """
        left = (self.num_pairs - query for query in range(self.num_queries))
        return sum(1 / number for number in left) / self.num_queries

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 or uint16 (n, max_len), zeros int64 (n,))."""
        sizes, step = self.sizes("generate"), max(1, _CELLS_A_BLOCK // self._widest())
        for split in SPLITS:
            for start in range(0, sizes[split], step):
                indices = np.arange(start, min(start + step, sizes[split]))
                yield split, self.examples(split, indices), np.zeros(len(indices), np.int64)
                reading.report(f"{split} examples", int(indices[-1]) + 1, sizes[split])

    def examples(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Return the examples (n,) of a split, uint8 or uint16 (n, max_len)."""
        numbers = self.numbers(split, indices)
        keys, values = self._contents(numbers)
        asked = shuffled(self.draws(_ASKED, numbers, self.num_pairs))[:, : self.num_queries]
        dtype = np.uint8 if self.vocab_size <= 2**8 else np.uint16
        tokens = np.full((len(numbers), self.max_len), self.mask_id, dtype)
        pairs, queries = slice(0, 2 * self.num_pairs), slice(self._first_query, None)
        for first, content in enumerate((keys, self.num_keys + values)):
            tokens[:, pairs][:, first::2] = content
            tokens[:, queries][:, first::2] = np.take_along_axis(content, asked, axis=1)
        return tokens

    def compute_labels(self, tokens: np.ndarray) -> np.ndarray:
        """Return 0 for examples that answer each query as their pairs say, else -1, int64 (n,)."""
        tokens = tokens.astype(np.int64)
        pairs, queries = tokens[:, : 2 * self.num_pairs], tokens[:, self._first_query :]
        same = pairs[:, None, ::2] == queries[:, ::2, None]
        answers = (same * pairs[:, None, 1::2]).sum(axis=2)
        return np.where((answers == queries[:, 1::2]).all(axis=1), 0, -1)

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return no features."""
        return np.zeros((len(tokens), 0), np.float32)

    def to_text(self, tokens: np.ndarray) -> str:
        """Return an example such as "k3 v7 k1 v2 _ k1 v2"; a blank is _."""
        return " ".join(map(self._word, tokens.tolist()))

    def _word(self, token: int) -> str:
        """Return a token in writing."""
        if token == self.mask_id:
            return "_"
        return f"k{token}" if token < self.num_keys else f"v{token - self.num_keys}"

    def _widest(self) -> int:
        return max(self.max_len, self.num_keys, self.num_values)

    def _choices(self) -> list[int]:
        """Return how many keys, then values, are left for each pair, from the first on."""
        pairs = range(self.num_pairs)
        return [count - pair for count in (self.num_keys, self.num_values) for pair in pairs]

    def _contents(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the keys and the values of the pairs, both int64 (n, p).

        The first choices are the digits of a permutation of the number, so no contents occur
        twice; the others are random.
        """
        choices = self._choices()
        known = self._num_known()
        digits = permuted(numbers, math.prod(choices[:known]), self.seed, _CONTENTS)
        random = self.draws(_REST, numbers, len(choices))
        chosen = (random % np.array(choices, np.uint64)).astype(np.int64)
        for place in range(known):
            chosen[:, place], digits = digits % choices[place], digits // choices[place]
        keys, values = np.split(chosen, 2, axis=1)
        return distinct(keys, self.num_keys), distinct(values, self.num_values)

    def _num_known(self) -> int:
        """Return how many choices the number of the example sets."""
        size = 1
        for known, choices in enumerate(self._choices()):
            size *= choices
            if size > _MOST_CONTENTS:
                return known
        return 2 * self.num_pairs


def distinct(ranks: np.ndarray, count: int) -> np.ndarray:
    """Return items, int64 (n, p), that differ: each is the rank-th, from 0, of those not yet taken.

    Args:
        ranks: int64 (n, p), below `count` minus the place.
        count: items to choose from, numbered from 0.
    """
    left = np.tile(np.arange(count), (len(ranks), 1))
    items, rows = np.empty_like(ranks), np.arange(len(ranks))
    for place in range(ranks.shape[1]):
        # The item that is taken changes places with the first of those left.
        taken = place + ranks[:, place]
        items[:, place] = left[rows, taken]
        left[rows, taken] = left[:, place]
    return items
