"""The task Protein-concat: predict residues of proteins that follow each other."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from lra_bench.contracts import Block, Range, Reading
from lra_bench.registry import register_task
from lra_bench.tasks import _proteins

_END = np.array([_proteins.END], np.uint8)


@register_task("protein-concat")
@dataclass(frozen=True)
class ProteinConcat(_proteins.ProteinTask):
    """Predict the residues of proteins joined by an end token, cut to `max_length` tokens.

    Each split is one long sequence of its proteins in the order of the file. What is left at its
    end and fills no example is not used.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 4.4: interactions among proteins,
        emulated by sequences of 8,192 tokens.
    """

    max_length: Annotated[int, Range(2, 2**20)] = 8_192

    name: ClassVar[str] = "protein-concat"

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 (n, max_len), zeros int64 (n,)).

        Raises:
            RunError: the file is missing or malformed; the message names file and line.
        """
        waiting: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(0, np.uint8))
        taken: Counter[str] = Counter()
        for split, residues in self.proteins(reading):
            waiting[split] = np.concatenate([waiting[split], residues, _END])
            whole = len(waiting[split]) // self.max_length
            if not whole:
                continue
            rows = waiting[split][: whole * self.max_length].reshape(whole, -1)
            waiting[split] = waiting[split][whole * self.max_length :]
            limit = self.limit(split)
            rows = rows[: None if limit is None else limit - taken[split]]
            taken[split] += len(rows)
            if len(rows):
                yield _proteins.as_block(split, list(rows), self.max_length)
