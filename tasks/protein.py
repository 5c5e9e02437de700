"""The task Protein: predict residues of single proteins."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lra_bench.contracts import Block, Reading
from lra_bench.registry import register_task
from lra_bench.tasks import _proteins

_BLOCK = 512
_START, _END = np.array([[_proteins.START], [_proteins.END]], np.uint8)


@register_task("protein")
@dataclass(frozen=True)
class Protein(_proteins.ProteinTask):
    """Predict the residues of a protein: a language model over amino acids.

    Tokens are the 20 standard amino acids, 5 rare ones (B, O, U, X, Z), a start, an end, a mask and
    padding. A protein is cut to `max_length` tokens, of which the start is one, and the end if it
    fits. Residues alone are predicted and counted.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 4.4 and Appendix C; Madani et al. 2020,
        arXiv:2004.03497.
    """

    name: ClassVar[str] = "protein"

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 (n, max_len), zeros int64 (n,)).

        Raises:
            RunError: the file is missing or malformed; the message names file and line.
        """
        waiting: dict[str, list[np.ndarray]] = defaultdict(list)
        taken: Counter[str] = Counter()
        for split, residues in self.proteins(reading):
            if taken[split] == self.limit(split):
                continue
            taken[split] += 1
            # A copy of what is kept: a view would keep all residues in memory.
            kept = residues[: self.max_length]
            tokens = np.concatenate([_START, kept, _END])[: self.max_length].copy()
            waiting[split].append(tokens)
            if len(waiting[split]) == _BLOCK:
                yield _proteins.as_block(split, waiting.pop(split), self.max_length)
        for split, rows in waiting.items():
            yield _proteins.as_block(split, rows, self.max_length)
