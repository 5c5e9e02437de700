"""Cut long sequences to examples of one length."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from lra_bench.contracts import Block


class Windows:
    """Cut the long sequence of each split to examples of one length, all of class 0.

    Attributes:
        width: tokens of an example.
        limits: by split, the largest number of examples; None for any.
    """

    def __init__(self, width: int, limits: Mapping[str, int | None]) -> None:
        self.width, self.limits = width, limits
        self._waiting: dict[str, list[np.ndarray]] = {split: [] for split in limits}
        self._lengths: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()

    def is_full(self, split: str) -> bool:
        """Return whether a split takes no more examples."""
        return self._taken[split] == self.limits[split]

    def all_full(self) -> bool:
        """Return whether no split takes more examples."""
        return all(map(self.is_full, self.limits))

    def add(self, split: str, tokens: np.ndarray) -> Iterator[Block]:
        """Yield the examples that tokens (n,) fill, together with those that were left."""
        if self.is_full(split):
            return
        self._waiting[split].append(tokens)
        self._lengths[split] += len(tokens)
        whole = self._lengths[split] // self.width
        if whole:
            joined = np.concatenate(self._waiting[split])
            rows, left = np.split(joined, [whole * self.width])
            self._waiting[split], self._lengths[split] = [left.copy()], len(left)
            yield self._block(split, rows.reshape(whole, self.width))

    def rest(self) -> Iterator[Block]:
        """Yield what is left of each split as an example, with zeros at its end."""
        for split, parts in self._waiting.items():
            if self._lengths[split] and not self.is_full(split):
                left = np.concatenate(parts)
                yield self._block(split, np.pad(left, (0, self.width - len(left)))[None])

    def _block(self, split: str, rows: np.ndarray) -> Block:
        limit = self.limits[split]
        rows = rows[: None if limit is None else limit - self._taken[split]]
        self._taken[split] += len(rows)
        return split, rows, np.zeros(len(rows), np.int64)
