"""The task Text-LM: predict the bytes of texts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import Block, Range, Reading, Source
from lra_bench.registry import register_task
from lra_bench.tasks import _archive, _bytes, _documents, text
from lra_bench.tasks._given import Given
from lra_bench.tasks._windows import Windows

PAD, FIRST, LAST = 0, 1, 256
END, START, MASK = 257, 258, 259
(_IMDB,) = text.Text.sources
_BLANK = np.isin(np.arange(256), list(b" \t\n\r\v\f"))


@register_task("text-lm")
@dataclass(frozen=True)
class TextLM(Given):
    """Predict the bytes of texts: a language model over bytes.

    The documents of a split follow each other, an end token after each, and are cut to `max_length`
    tokens; the last example is padded. Bytes alone are predicted and counted. With the objective
    "next", a start token stands before each example, so that its first byte is predicted too:
    "bits a token" of a result are bits a byte.

    A document is a review of the archive. Of other files, it is a file, a paragraph (lines without
    a blank one between them) or a line, as `document` says; a file that is given alone has
    paragraphs instead of being one. Text is UTF-8, and bytes that are not are read as bytes.

    Perplexities of words, as published for PG-19, need `tokens_per_word`: results then show
    exp(tokens_per_word x loss) too, as in Appendix A.1.1 of the Performer paper, where the factors
    of its word pieces are 1.5634 for train, 1.5487 for validation and 1.5359 for test. That of the
    bytes of a test set is a note on the data.

    Attributes:
        objective: "next" predicts each byte from those before it, "masked" bytes that are hidden.
        max_length: tokens of an example.
        document: what a document of given files is: "file", "paragraph" or "line".
        tokens_per_word: for perplexities of words; 0 shows none.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Fig. 5 and Appendix A.1.1; Rae et al. 2020,
        arXiv:1911.05507 (PG-19); Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis".
    """

    objective: Literal["next", "masked"] = "next"
    max_length: Annotated[int, Range(2, 2**20)] = 1_024
    document: _documents.Kind = "file"
    tokens_per_word: Annotated[float, Range(1, 1_000, or_zero=True)] = 0.0

    name: ClassVar[str] = "text-lm"
    bits_per: ClassVar[str] = "byte"
    num_classes: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = ("text",)
    vocab_size: ClassVar[int] = MASK + 1
    pad_id: ClassVar[int | None] = PAD
    start_id: ClassVar[int] = START
    mask_id: ClassVar[int] = MASK
    ordinary: ClassVar[tuple[int, int]] = (FIRST, LAST)
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    sources: ClassVar[tuple[Source, ...]] = (
        replace(_IMDB, splits=_archive.RULE, examples=()),  # its examples are not reviews
        Source(
            "files",
            "by the hash of the document: a twentieth each for validation and test, so that equal "
            "documents are in one split; folders train, validation and test are kept, if all are "
            "there",
            "a text file, or a folder of files .txt or .txt.gz, such as those of PG-19",
            "https://github.com/google-deepmind/pg19",
        ),
    )

    @property
    def max_len(self) -> int:
        """Return the number of tokens of an example."""
        return self.max_length

    def scored(self, tokens: Any) -> Any:
        """Return which tokens are bytes."""
        return (tokens >= FIRST) & (tokens <= LAST)

    def data_options(self, source: str) -> dict[str, Any]:
        """Return the options that change the tokens, not how they are read or counted."""
        unread = {"objective", "tokens_per_word"} | (
            {"document"} if source == _IMDB.name else set()
        )
        return {k: v for k, v in super().data_options(source).items() if k not in unread}

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the archive by its published name, or the text files by theirs.

        Raises:
            RunError: there is none.
        """
        if source == _IMDB.name:
            return {_IMDB.files: _archive.find(self.name, path, _IMDB)}
        return _documents.find(self.name, path)

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether these are IMDb's reviews, by the checksum of the archive."""
        del sizes
        return source == _IMDB.name and checksums.get(_IMDB.files) == _IMDB.sha256

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return no features."""
        return np.zeros((len(tokens), 0), np.float32)

    def to_text(self, tokens: np.ndarray) -> str:
        """Return the text; a blank line follows the end of a document."""
        parts = np.split(tokens, np.flatnonzero(tokens == END))
        return "\n\n".join(_bytes.to_text(part[self.scored(part)]) for part in parts)

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint16 (n, max_len), zeros int64 (n,)).

        Raises:
            RunError: files are missing, broken or no text; the message names the first.
        """
        windows = Windows(self.max_length, self.limits())
        words = _Words()
        for number, piece in enumerate(self._pieces(reading), 1):
            if piece.split == "test":
                words.add(piece)
            yield from windows.add(piece.split, _encoded(piece))
            if number % 1_000 == 0:
                reading.report("documents", number, None)
            if windows.all_full():
                break
        for block in windows.rest():
            if self.scored(block[1]).any():  # else it is an end alone
                yield block
        if words.count:
            reading.note(words.remark())

    def _pieces(self, reading: Reading) -> Iterator[_documents.Piece]:
        files = self.inputs(reading.source, reading.path)
        if reading.source == _IMDB.name:
            (archive,) = files.values()
            return _reviews(archive, reading)
        return self._documents(files, reading)

    def _documents(self, files: dict[str, Path], reading: Reading) -> Iterator[_documents.Piece]:
        assert reading.path is not None  # inputs would have refused it
        empty: list[str] = []
        split = _documents.has_splits(reading.path)
        yield from _documents.read(files, self.document, empty, split=split)
        if empty:
            few = f"{len(empty):,} files without text were left out"
            reading.note(f"{few}, such as {empty[0]}")


def _reviews(archive: Path, reading: Reading) -> Iterator[_documents.Piece]:
    """Yield the reviews of each split in the order of the SHA-256 of their ids."""
    train, test = text.reviews_of(archive, reading)
    ids = [text.id_of(review) for review in train]
    test_ids = [text.id_of(review) for review in test]
    kept, chosen = _archive.held_out(ids)
    for split, reviews, names, rows in (
        ("train", train, ids, kept),
        ("validation", train, ids, chosen),
        ("test", test, test_ids, range(len(test))),
    ):
        for row in sorted(rows, key=lambda row, names=names: _archive.digest(names[row])):
            yield _documents.Piece(split, reviews[row]["text"], last=True)


def _encoded(piece: _documents.Piece) -> np.ndarray:
    """Return the tokens of a piece, uint16 (n,)."""
    tokens = np.frombuffer(piece.text, np.uint8).astype(np.uint16) + FIRST
    return np.append(tokens, np.uint16(END)) if piece.last else tokens


class _Words:
    """Count bytes, and words, which blanks separate."""

    def __init__(self) -> None:
        self.bytes = self.count = 0
        self._after_blank = True

    def add(self, piece: _documents.Piece) -> None:
        """Count a piece; a word may go on in the next one of its document."""
        blank = _BLANK[np.frombuffer(piece.text, np.uint8)]
        before = np.append(self._after_blank, blank)
        self.count += int((before[:-1] & ~blank).sum())
        self.bytes += len(blank)
        self._after_blank = piece.last or bool(before[-1])

    def remark(self) -> str:
        """Return a note on the option that gives perplexities of words."""
        ratio = self.bytes / self.count
        text = f"test: {self.bytes:,} bytes in {self.count:,} words, so that perplexities of words"
        return f"{text} need --set data.tokens_per_word={ratio:.4f}"
