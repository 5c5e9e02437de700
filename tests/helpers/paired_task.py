"""A task of two documents that no registry holds."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lra_bench.contracts import Source


@dataclass(frozen=True)
class Paired:
    """A paired task without padding, of ids that need 16 bits."""

    size: int = 5
    name: ClassVar[str] = "paired"
    num_classes: ClassVar[int] = 3
    vocab_size: ClassVar[int] = 1000
    pad_id: ClassVar[int | None] = None
    paired: ClassVar[bool] = True
    max_len: ClassVar[int] = 4
    class_names: ClassVar[tuple[str, ...]] = ("a", "b", "c")
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (Source("generate", "as it comes"),)
    version: ClassVar[int] = 1

    def data_options(self, source):
        return {"size": self.size}

    def sizes(self, source):
        return {}

    def inputs(self, source, path):
        return {}

    def features(self, tokens):
        return tokens.reshape(len(tokens), -1).astype(np.float32)

    def read(self, reading):
        for number, split in enumerate(("train", "validation", "test")):
            rng = np.random.default_rng(number)
            for _ in range(2):
                tokens = rng.integers(0, 1000, (self.size, 2, 4)).astype(np.uint16)
                yield split, tokens, rng.integers(0, 3, self.size)

    def to_text(self, tokens):
        return str(tokens)

    def official(self, source, checksums, sizes):
        return False
