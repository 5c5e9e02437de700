"""The task Retrieval: tell whether one paper cites the other, both read byte by byte."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from lra_bench.contracts import Block, Range, Reading, Source
from lra_bench.errors import RunError
from lra_bench.registry import register_task
from lra_bench.tasks import _bytes, _release
from lra_bench.tasks._given import Given

_BLOCK = 512
_FILES = {
    "train": "new_aan_pairs.train.tsv",
    "validation": "new_aan_pairs.eval.tsv",
    "test": "new_aan_pairs.test.tsv",
}
_SIZES = {"train": 147_086, "validation": 18_090, "test": 17_437}
_LABEL = re.compile(rb"([01])(\.0*)?")
# No row of the release is that long; without a limit, a file without line ends fills the memory.
_LONGEST_ROW = 64 << 20


@register_task("retrieval")
@dataclass(frozen=True)
class Retrieval(Given):
    """Tell whether one paper of the ACL Anthology Network cites the other.

    A document is cut to its first `max_length` bytes. Each size is the largest number of pairs of
    its split, the first of the file; 0 takes all.

    Attributes:
        max_length: bytes of a document that are read.

    References:
        Radev et al. 2013, "The ACL Anthology Network Corpus"; Tay et al. 2021, arXiv:2011.04006,
        Section 2.2.
    """

    max_length: Annotated[int, Range(1, 2**20)] = 4_000

    name: ClassVar[str] = "retrieval"
    num_classes: ClassVar[int] = 2
    class_names: ClassVar[tuple[str, ...]] = ("unrelated", "citing")
    vocab_size: ClassVar[int] = _bytes.VOCAB_SIZE
    pad_id: ClassVar[int | None] = 0
    paired: ClassVar[bool] = True
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        _release.source(
            "new_aan_pairs.{train,eval,test}.tsv",
            splits="the release's own files",
            examples=tuple(_SIZES.values()),
        ),
    )

    @property
    def max_len(self) -> int:
        """Return the number of bytes that are read of each document."""
        return self.max_length

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the release's three files."""
        del source
        return _release.files(self.name, path, ("tsv_data", "aan", "retrieval"), _FILES)

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether the numbers of pairs are those of the release's files."""
        del source, checksums
        asked = (self.train_size, self.validation_size, self.test_size)
        return sizes == _SIZES and not any(asked)

    def to_text(self, tokens: np.ndarray) -> str:
        """Return both documents."""
        return "".join(f"\n[{number}] {_bytes.to_text(x)}" for number, x in enumerate(tokens, 1))

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Compare the words of both documents by three cosines, float32 (n, 3).

        They weight rare words differently.
        """
        counts = np.log1p(_bytes.word_counts(tokens.reshape(-1, tokens.shape[-1])))
        frequency = (counts > 0).mean(axis=0)
        weights = np.log((1 + 1 / len(counts)) / (frequency + 1 / len(counts)))
        return np.stack([_cosine(counts * weights**power) for power in (0, 1, 2)], axis=1)

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint16 (n, 2, max_len), labels int64 (n,)).

        Raises:
            RunError: a file is missing or malformed; the message names file and line.
        """
        sizes = (self.train_size, self.validation_size, self.test_size)
        files = self.inputs(reading.source, reading.path)
        for (split, file), size in zip(files.items(), sizes, strict=True):
            done = 0
            for documents, labels in _rows(file, size, self.max_length, reading.note):
                done += len(labels)
                reading.report(f"{split} pairs", done, None)
                tokens = _bytes.encode(documents, self.max_length)
                yield split, tokens.reshape(-1, 2, self.max_length), np.array(labels, np.int64)


def _cosine(weighted: np.ndarray) -> np.ndarray:
    """Return the cosines of rows 0 and 1, 2 and 3, and so on; float32 (n,) of (2 n, words)."""
    first, second = weighted[::2], weighted[1::2]
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (np.sum(first * second, axis=1) / np.maximum(norms, 1e-9)).astype(np.float32)


def _rows(
    file: Path, size: int, width: int, note: Callable[[str], None]
) -> Iterator[tuple[list[bytes], list[int]]]:
    """Yield blocks of (documents, two per row; labels), in constant memory."""
    with file.open("rb") as lines:
        every = iter(lambda: lines.readline(_LONGEST_ROW), b"")
        numbered = enumerate(itertools.islice(every, size or None), 1)
        # Each row is cut to the width at once: rows may be long, and a block has many.
        rows = (_row(file, number, line, width, note) for number, line in numbered)
        while block := list(itertools.islice(rows, _BLOCK)):
            labels = [label for label, *_ in block]
            yield [document for _, *pair in block for document in pair], labels


def _row(
    file: Path, number: int, line: bytes, width: int, note: Callable[[str], None]
) -> tuple[int, bytes, bytes]:
    """Return what `_parse` does; the error of a malformed row names its file and number."""
    try:
        row = _parse(line, width)
    except ValueError as error:
        raise RunError(f"{file}:{number}: {error}") from None
    if not line.endswith(b"\n"):
        note(f"{file}:{number}: the last row has no line end: is the file cut off?")
    return row


def _parse(line: bytes, width: int) -> tuple[int, bytes, bytes]:
    """Return the label and the first `width` bytes of both documents.

    Raises:
        ValueError: the row is cut off or too long, or is not a label of 0 or 1 and four columns.
    """
    if len(line) >= _LONGEST_ROW:
        raise ValueError("no line end in 64 MB")
    columns = line.split(b"\t")
    if len(columns) != 5 and not line.endswith(b"\n"):
        raise ValueError("the file is cut off in its last row")
    if len(columns) != 5:
        raise ValueError(f"{len(columns)} columns, must be 5: label, id1, id2, text1, text2")
    label = _LABEL.fullmatch(columns[0])
    if not label:
        raise ValueError(f"label {columns[0][:20].decode(errors='replace')!r}, must be 0 or 1")
    return int(label[1]), columns[3][:width], columns[4].rstrip(b"\r\n")[:width]
