"""The base class of tasks that a generator defines: no one has published data of them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.contracts import SPLITS
from lra_bench.tasks._draws import child, stream

# The order in which splits take their numbers, so that more training data change no other split.
_NUMBERED = ("test", "validation", "train")


class Generated:
    """A task without files; all of its options describe the generator.

    Attributes:
        train_size, validation_size, test_size: the number of examples.
        seed: of all random numbers.
    """

    train_size: int
    validation_size: int
    test_size: int
    seed: int

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options: the data depend on each."""
        del source
        options: Any = self
        return asdict(options)

    def sizes(self, source: str) -> dict[str, int]:
        """Return the number of examples of each split."""
        del source
        sizes = (self.train_size, self.validation_size, self.test_size)
        return dict(zip(SPLITS, sizes, strict=True))

    def numbers(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Return the numbers of a split's examples (n,) among those of all splits, int64 (n,)."""
        sizes = self.sizes("generate")
        before = _NUMBERED[: _NUMBERED.index(split)]
        return indices.astype(np.int64) + sum(sizes[name] for name in before)

    def draws(self, purpose: int, numbers: np.ndarray, count: int) -> np.ndarray:
        """Return random numbers, uint64 (n, count), of examples or blocks numbered (n,)."""
        keys = stream(self.seed, purpose, numbers)
        return child(keys[:, None], np.arange(1, count + 1))

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return no files: examples are generated."""
        del source, path
        return {}

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return True: the generator defines the task, so there are no other data of it."""
        del source, checksums, sizes
        return True
