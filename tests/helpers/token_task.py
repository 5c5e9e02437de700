"""A task that is scored at its tokens and that no registry holds: runs of letters."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from lra_bench.contracts import HELD_OUT, Source

PAD, START, MASK, FIRST, LETTERS = 0, 1, 2, 3, 5


@dataclass(frozen=True)
class Letters:
    """Each letter follows the one before it in the alphabet, or is any letter, now and then."""

    size: int = 40
    max_len: int = 12
    objective: Literal["next", "masked"] = "next"

    name: ClassVar[str] = "letters"
    num_classes: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = ("text",)
    vocab_size: ClassVar[int] = FIRST + LETTERS
    pad_id: ClassVar[int | None] = PAD
    mask_id: ClassVar[int] = MASK
    ordinary: ClassVar[tuple[int, int]] = (FIRST, FIRST + LETTERS - 1)
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (Source("generate", "as it comes"),)
    version: ClassVar[int] = 1

    def data_options(self, source):
        return {"size": self.size, "max_len": self.max_len}

    def sizes(self, source):
        return {}

    def inputs(self, source, path):
        return {}

    def scored(self, tokens):
        return tokens >= FIRST

    def features(self, tokens):
        return np.zeros((len(tokens), 0), np.float32)

    def read(self, reading):
        for number, split in enumerate(("train", "validation", "test", HELD_OUT)):
            yield split, self.draw(number), np.zeros(self.size, np.int64)

    def draw(self, seed):
        """Return tokens, uint8 (size, max_len), of several lengths."""
        rng = np.random.default_rng(seed)
        steps = rng.integers(0, LETTERS, (self.size, self.max_len - 1))
        steps[rng.random(steps.shape) < 0.8] = 1
        letters = FIRST + steps.cumsum(axis=1) % LETTERS
        tokens = np.pad(letters, ((0, 0), (1, 0)), constant_values=START)
        lengths = rng.integers(4, self.max_len + 1, (self.size, 1))
        return np.where(np.arange(self.max_len) < lengths, tokens, PAD).astype(np.uint8)

    def to_text(self, tokens):
        return "".join("_^?abcde"[token] for token in tokens)

    def official(self, source, checksums, sizes):
        return False
