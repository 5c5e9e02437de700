"""The task recall: pairs of a key and a value, then a key, whose value is the class."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from lra_bench.contracts import SPLITS, Block, Range, Reading, Source, check_ranges
from lra_bench.registry import register_task
from lra_bench.tasks._draws import permuted, shuffled
from lra_bench.tasks._generated import Generated

# The kinds of distractors.
_NOISE = 16
_CELLS_A_BLOCK = 2**20
# The number of contents that are told apart by construction, if there are more: far above any size.
_MOST_CONTENTS = 2**40
_LABELS, _CONTENTS, _KEYS, _VALUES, _ORDER, _NOISES = range(6)


@register_task("recall")
@dataclass(frozen=True)
class Recall(Generated):
    """Recall the value that was paired with a key (associative recall).

    An example has `num_pairs` pairs of a key and a value, and at its end one of these keys; the
    class is the value of that key. Its keys differ, its values may repeat. With `tokens` "pair" a
    pair is one token, and the key at the end is a token of its own kind; with "separate" keys and
    values are tokens of their own, and the key at the end is the same token as in its pair.
    `distractors` tokens of 16 other kinds stand at random places among the pairs, and `gap` blank
    tokens, all the same, between the pairs and the end. No two examples have the same values for
    the same keys and ask for the same key. A model that sees which values are there, but not which
    key has which, can do no better than to guess the commonest: its accuracy is the chance of this
    task.

    Attributes:
        num_pairs: pairs of a key and a value in an example.
        num_keys, num_values: kinds of keys and of values.
        distractors: tokens of other kinds among the pairs.
        gap: blank tokens between the pairs and the end.
        tokens: whether a pair is one token ("pair") or two ("separate").
        train_size, validation_size, test_size: examples of each split.
        seed: of the generator.

    References:
        Ba et al. 2016, arXiv:1610.06258 (associative retrieval); Arora et al. 2023,
        arXiv:2312.04927, whose multi-query form (MQAR) asks for every key.
    """

    num_pairs: Annotated[int, Range(1, 1_024)] = 16
    num_keys: Annotated[int, Range(1, 2**14)] = 16
    num_values: Annotated[int, Range(2, 2**14)] = 16
    distractors: Annotated[int, Range(0, 2**17)] = 0
    gap: Annotated[int, Range(0, 2**17)] = 0
    tokens: Literal["pair", "separate"] = "pair"
    train_size: Annotated[int, Range(1, 10**8)] = 100_000
    validation_size: Annotated[int, Range(1, 10**8)] = 2_000
    test_size: Annotated[int, Range(1, 10**8)] = 2_000
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0

    name: ClassVar[str] = "recall"
    pad_id: ClassVar[int | None] = None
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        Source("generate", splits="no two examples ask the same of the same pairs"),
    )
    guess: ClassVar[str] = "always the commonest value present"
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.num_keys < self.num_pairs:
            text = f"num_keys={self.num_keys}, num_pairs={self.num_pairs}"
            raise ValueError(f"{text}: the keys of an example differ, so there must be as many")
        if self.vocab_size > 2**16:
            text = f"num_keys={self.num_keys}, num_values={self.num_values}, tokens={self.tokens}"
            raise ValueError(f"{text}: {self.vocab_size:,} token ids, must be at most 65,536")
        wanted = sum(self.sizes("generate").values())
        found = self.num_keys * self.num_values**self.num_pairs
        if found < wanted:
            raise ValueError(
                f"the sizes need {wanted:,} different examples, but num_keys={self.num_keys}, "
                f"num_values={self.num_values}, num_pairs={self.num_pairs} give only {found:,}"
            )

    @property
    def num_classes(self) -> int:
        """Return the number of values."""
        return self.num_values

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the values."""
        return tuple(f"v{value}" for value in range(self.num_values))

    @property
    def vocab_size(self) -> int:
        """Return the number of token ids: pairs or values, keys, distractors, the blank."""
        return self._blank + 1

    @property
    def max_len(self) -> int:
        """Return the number of tokens, which all examples share."""
        return self.num_pairs * self._width + self.distractors + self.gap + 1

    @property
    def _width(self) -> int:
        """Return the tokens of a pair."""
        return 1 if self.tokens == "pair" else 2

    @property
    def _blank(self) -> int:
        return self._first_noise + _NOISE

    @property
    def _first_noise(self) -> int:
        values = self.num_values
        return self.num_keys * (values + 1) if self.tokens == "pair" else self.num_keys + values

    def chance(self) -> float:
        """Return the accuracy, in [0, 1], of always guessing the commonest value present.

        The p values are drawn from v with replacement, and each pair is as likely to be asked for,
        so it is E[M] / p, where M is the largest count of p items thrown into v boxes.
        """
        return expected_most(self.num_pairs, self.num_values) / self.num_pairs

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 or uint16 (n, max_len), labels int64 (n,))."""
        sizes, step = self.sizes("generate"), self._examples_a_block()
        for split in SPLITS:
            for start in range(0, sizes[split], step):
                indices = np.arange(start, min(start + step, sizes[split]))
                yield split, *self.examples(split, indices)
                reading.report(f"{split} examples", int(indices[-1]) + 1, sizes[split])

    def examples(self, split: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the examples (n,) of a split: tokens (n, max_len) and labels int64 (n,)."""
        numbers = self.numbers(split, indices)
        keys, values = self._contents(numbers)
        return self._laid_out(numbers, keys, values), values[:, 0]

    def compute_labels(self, tokens: np.ndarray) -> np.ndarray:
        """Return the values of the keys at the end, int64 (n,); -1 where the grammar is broken."""
        starts, keys, values = self._parsed(tokens)
        asked = tokens[:, -1].astype(np.int64)
        asked -= self.num_keys * self.num_values if self.tokens == "pair" else 0
        found = starts & (keys == asked[:, None])
        labels = np.where(found, values, 0).sum(axis=1)
        return np.where(self._is_whole(tokens, starts, keys) & (found.sum(axis=1) == 1), labels, -1)

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Count each value; float32 (n, num_values). The commonest is the likeliest answer."""
        starts, _, values = self._parsed(tokens)
        rows = np.nonzero(starts)[0]
        counts = np.zeros((len(tokens), self.num_values), np.float32)
        np.add.at(counts, (rows, values[starts] % self.num_values), 1)
        return counts

    def to_text(self, tokens: np.ndarray) -> str:
        """Return an example such as "k3=v7 k1=v2 k3?"; distractors are n0 to n15, blanks _."""
        return " ".join(map(self._word, tokens[:-1].tolist())) + f" {self._word(int(tokens[-1]))}?"

    def _word(self, token: int) -> str:
        """Return a token in writing."""
        keys, values = self.num_keys, self.num_values
        if token == self._blank:
            return "_"
        if token >= self._first_noise:
            return f"n{token - self._first_noise}"
        if self.tokens == "separate":
            return f"k{token}" if token < keys else f"v{token - keys}"
        pairs = keys * values
        return f"k{token // values}=v{token % values}" if token < pairs else f"k{token - pairs}"

    def _examples_a_block(self) -> int:
        """Return how many examples are made at once, which bounds the memory."""
        widest = max(self.max_len, self.num_keys, self.num_values)
        return max(1, _CELLS_A_BLOCK // widest)

    def _contents(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the keys and values of the pairs, int64 (n, p); the first pair is asked for.

        Numbers in a row have each label once. The label, the key that is asked for and the values
        in the order of their keys are one-to-one with the number, so no example occurs twice; each
        label has a permutation of its own, so that the other numbers of a row tell nothing.
        """
        count, rows = self.num_values, np.arange(len(numbers))
        block, place = np.divmod(numbers, count)
        labels = shuffled(self.draws(_LABELS, block, count))[rows, place]
        known = self._num_known_values()
        digits = permuted(block, self.num_keys * count**known, self.seed, _CONTENTS, labels)
        asked, digits = digits % self.num_keys, digits // self.num_keys
        values = (self.draws(_VALUES, numbers, self.num_pairs) % np.uint64(count)).astype(np.int64)
        values[:, 0] = labels
        for pair in range(1, known + 1):
            values[:, pair], digits = digits % count, digits // count
        ranks = self.draws(_KEYS, numbers, self.num_keys)
        ranks[rows, asked] = np.iinfo(np.uint64).max  # last, so not among the others
        others = np.sort(shuffled(ranks)[:, : self.num_pairs - 1], axis=1)
        return np.concatenate([asked[:, None], others], axis=1), values

    def _num_known_values(self) -> int:
        """Return of how many pairs, beside the first, the number of the example sets the value."""
        most = math.log(_MOST_CONTENTS / self.num_keys, self.num_values)
        return min(self.num_pairs - 1, int(most))

    def _laid_out(self, numbers: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return tokens: pairs and distractors in random order, blanks, the key asked for."""
        noise = self.draws(_NOISES, numbers, self.max_len) % np.uint64(_NOISE)
        tokens = noise.astype(np.uint16) + np.uint16(self._first_noise)
        tokens[:, self.max_len - 1 - self.gap :] = self._blank
        order = shuffled(self.draws(_ORDER, numbers, self.num_pairs + self.distractors))
        width = np.where(order < self.num_pairs, self._width, 1)
        starts = np.empty_like(order)
        np.put_along_axis(starts, order, np.cumsum(width, axis=1) - width, axis=1)
        places = starts[:, : self.num_pairs]
        if self.tokens == "pair":
            np.put_along_axis(tokens, places, keys * self.num_values + values, axis=1)
            tokens[:, -1] = self.num_keys * self.num_values + keys[:, 0]
        else:
            np.put_along_axis(tokens, places, keys, axis=1)
            np.put_along_axis(tokens, places + 1, self.num_keys + values, axis=1)
            tokens[:, -1] = keys[:, 0]
        return tokens.astype(np.uint8) if self.vocab_size <= 2**8 else tokens

    def _parsed(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where pairs start, bool (n, l - 1), and the key and value of a pair there."""
        before, after = (x.astype(np.int64) for x in (tokens[:, :-1], tokens[:, 1:]))
        if self.tokens == "pair":
            keys, values = np.divmod(before, self.num_values)
            return keys < self.num_keys, keys, values
        return before < self.num_keys, before, after - self.num_keys

    def _is_whole(self, tokens: np.ndarray, starts: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Return which examples have all their pairs, of different keys, and nothing else."""
        of_pairs = starts.copy()
        if self.tokens == "separate":
            of_pairs[:, 1:] |= starts[:, :-1] & self._is_value(tokens[:, 1:-1])
        noise = tokens[:, :-1] >= self._first_noise
        blank = tokens[:, :-1] == self._blank
        distinct = np.sort(np.where(starts, keys, -1 - np.arange(starts.shape[1])), axis=1)
        return (
            (starts.sum(axis=1) == self.num_pairs)
            & (noise.sum(axis=1) == self.distractors + self.gap)
            & (of_pairs | noise).all(axis=1)
            & (blank.sum(axis=1) == self.gap)
            & blank[:, blank.shape[1] - self.gap :].all(axis=1)
            & (np.diff(distinct, axis=1) > 0).all(axis=1)
        )

    def _is_value(self, tokens: np.ndarray) -> np.ndarray:
        return (tokens >= self.num_keys) & (tokens < self._first_noise)


def expected_most(items: int, boxes: int) -> float:
    """Return the expected largest count of `items` thrown into `boxes`, each as likely.

    It is the sum over m >= 0 of P(M > m), and P(M <= m) is the probability that independent
    Poisson counts, each at most m, sum to `items`, over the same without the bound.
    """
    rate = items / boxes
    count = np.arange(items + 1)
    log_factorial = np.array([math.lgamma(n + 1) for n in count])
    poisson = np.exp(count * math.log(rate) - rate - log_factorial)
    of_sum = math.exp(items * math.log(items) - items - log_factorial[-1])
    fewest = math.ceil(rate)
    total = float(fewest)
    for most in range(fewest, items):
        bounded = np.where(count <= most, poisson, 0)
        above = 1 - _power(bounded, boxes)[-1] / of_sum
        if above < 1e-15:
            break
        total += above
    return total


def _power(coefficients: np.ndarray, exponent: int) -> np.ndarray:
    """Return the first coefficients of a polynomial's power, as many as it has, by squaring."""
    result, square = np.eye(1, len(coefficients))[0], coefficients
    while exponent:
        if exponent & 1:
            result = np.convolve(result, square)[: len(coefficients)]
        square = np.convolve(square, square)[: len(coefficients)]
        exponent >>= 1
    return result
