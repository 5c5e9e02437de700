"""The task ListOps: evaluate a long nested list expression, whose value is a digit."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import SPLITS, Block, Range, Reading, Source, check_ranges
from lra_bench.errors import RunError
from lra_bench.registry import register_task
from lra_bench.tasks import _release
from lra_bench.tasks._listops_trees import END, MIN, PAD, SM, SYMBOLS, Limits, blocks
from lra_bench.tasks._listops_values import INVALID, evaluate

_BLOCK = 1024
_LINES = 4096
# The bytes of a line of the release: at most 8 a symbol, with its space and its parentheses. Lines
# without an end would fill the memory.
_LONGEST_LINE, _LONGEST_SYMBOL = 2**20, 16
_STALE_BLOCKS = 50
_RELEASE_FILES = {
    "train": "basic_train.tsv",
    "validation": "basic_val.tsv",
    "test": "basic_test.tsv",
}
_RELEASE_SIZES = {"train": 96_000, "validation": 2_000, "test": 2_000}
_DIGITS = [SYMBOLS.index(digit) for digit in "0123456789"]
_IDS = {symbol.encode(): token for token, symbol in enumerate(SYMBOLS) if token}


@register_task("listops")
@dataclass(frozen=True)
class ListOps:
    """Evaluate a nested list expression of MIN, MAX, MED and SM (sum modulo 10) over digits.

    An expression has strictly fewer than `max_length` symbols, brackets included. With `brackets`
    "dropped", the model reads `[MAX 2 9 ]` as `MAX 2 9`, so it is not told where an operator ends;
    expressions, labels and splits are the same. The Long Range Arena's code did so until 4 March
    2021. All other options describe the generator; they do not change the release's files.

    Attributes:
        train_size, validation_size, test_size: examples of each split.
        min_length, max_length: an expression has more than `min_length` and fewer than `max_length`
            symbols, brackets included.
        max_depth: of the nesting.
        max_args: largest number of arguments of an operator.
        seed: of the generator.
        brackets: whether the model reads them: "kept" or "dropped".

    References:
        Nangia and Bowman 2018, arXiv:1804.06028; Tay et al. 2021, arXiv:2011.04006, Section 2.2.
    """

    train_size: Annotated[int, Range(1, 10**8)] = 96_000
    validation_size: Annotated[int, Range(1, 10**8)] = 2_000
    test_size: Annotated[int, Range(1, 10**8)] = 2_000
    min_length: Annotated[int, Range(0, 2**20)] = 500
    max_length: Annotated[int, Range(2, 2**20)] = 2_000
    max_depth: Annotated[int, Range(2, 100)] = 10
    max_args: Annotated[int, Range(2, 200)] = 10
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    brackets: Literal["kept", "dropped"] = "kept"

    name: ClassVar[str] = "listops"
    num_classes: ClassVar[int] = 10
    vocab_size: ClassVar[int] = len(SYMBOLS)
    pad_id: ClassVar[int | None] = 0
    paired: ClassVar[bool] = False
    side: ClassVar[int | None] = None
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    caution: ClassVar[str] = (
        "a guess that reads only the first operator is right in about 36 % of cases at the full "
        "size, and in about 33 % with preset mini"
    )
    sources: ClassVar[tuple[Source, ...]] = (
        Source("generate", splits="each split from a random stream of its own, no duplicates"),
        _release.source(
            "basic_{train,val,test}.tsv",
            splits="the release's own files",
            examples=tuple(_RELEASE_SIZES.values()),
        ),
    )
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.min_length > self.max_length - 2:
            raise ValueError(
                f"min_length={self.min_length}, max_length={self.max_length}: "
                "no length lies strictly between them"
            )

    @property
    def max_len(self) -> int:
        """Return the number of tokens: that of the longest expression and one more."""
        return self.max_length

    def data_options(self, source: str) -> dict[str, Any]:
        """Return the options that the data depend on; for the release `max_length` and `brackets`.

        Brackets that are kept are left out: data from before there was this option stay valid.
        """
        options = asdict(self)
        if source != "generate":
            options = {name: options[name] for name in ("max_length", "brackets")}
        return {k: v for k, v in options.items() if (k, v) != ("brackets", "kept")}

    def sizes(self, source: str) -> dict[str, int]:
        """Return the generator's sizes; {} for the release, whose files have to be read first."""
        sizes = (self.train_size, self.validation_size, self.test_size)
        return dict(zip(SPLITS, sizes, strict=True)) if source == "generate" else {}

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the release's three files; {} for the generator."""
        if source == "generate":
            return {}
        return _release.files("listops", path, ("listops-1000", "listops"), _RELEASE_FILES)

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 (n, max_len), values int64 (n,)).

        Raises:
            RunError: a file is missing or malformed; the message names file and line. Or the
                generator finds fewer different expressions than the sizes need.
        """
        whole = self._whole(reading)
        yield from whole if self.brackets == "kept" else map(_dropped, whole)

    def _whole(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks with all brackets, in which every value is that of its expression."""
        if reading.source == "generate":
            yield from self._generate()
            return
        for split, file in self.inputs(reading.source, reading.path).items():
            done = 0
            for tokens, values in _read_release(file, self.max_len):
                done += len(values)
                reading.report(f"{split} expressions", done, None)
                yield split, tokens, values

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether the numbers of examples are those of the release's files."""
        del checksums
        return source == "release" and sizes == _RELEASE_SIZES

    def compute_labels(self, tokens: np.ndarray) -> np.ndarray | None:
        """Return the values of expressions, int64 (n,); -1 where the grammar is broken.

        None if the brackets were dropped: what is left has no one value.
        """
        return evaluate(tokens) if self.brackets == "kept" else None

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Encode the first operator and which digits are its direct arguments; float32 (n, 44).

        The MIN of many digits is nearly always 0, and their MAX 9. Without brackets, the digits are
        those before the second operator: the others may be arguments of an inner one.
        """
        opened = np.isin(tokens, range(MIN, SM + 1))
        depth = np.cumsum(opened.astype(np.int16) - (tokens == END), axis=1)
        shallow = (tokens > 0) & (depth == 1) & ~opened
        digits = np.stack([((tokens == d) & shallow).any(axis=1) for d in _DIGITS], axis=1)
        root = tokens[:, :1] == np.arange(MIN, SM + 1)
        both = root[:, :, None] & np.pad(digits, ((0, 0), (1, 0)), constant_values=True)[:, None]
        return both.reshape(len(tokens), -1).astype(np.float32)

    def to_text(self, tokens: np.ndarray) -> str:
        """Return the expression as text, as the model reads it."""
        text = " ".join(SYMBOLS[token] for token in tokens if token)
        return text if self.brackets == "kept" else text.replace("[", "")

    def _generate(self) -> Iterator[Block]:
        """Yield the blocks of each split, without any expression of an earlier block.

        Two long expressions are never equal by chance; short ones, of small settings, are. Later
        splits then hold more of the rarer ones, which are longer.
        """
        limits = Limits(self.min_length, self.max_length, self.max_depth, self.max_args)
        seen: set[bytes] = set()
        try:
            for number, (split, size) in enumerate(self.sizes("generate").items()):
                for block in _new(blocks(self.seed, number, _BLOCK, limits), size, seen):
                    yield split, *block
        except ValueError as error:
            raise RunError(f"listops: {error}") from None


def _dropped(block: Block) -> Block:
    """Return a block without brackets, after a check of its values, the last that is possible."""
    split, tokens, values = block
    if (evaluate(tokens) != values).any():
        raise RunError(f"listops: a {split} value is not that of its expression")
    return split, without_brackets(tokens), values


def without_brackets(tokens: np.ndarray) -> np.ndarray:
    """Return tokens, (n, l), without end marks: the rest moves up, padding follows.

    An operator has the same id with its bracket and without.
    """
    kept = (tokens != PAD) & (tokens != END)
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(np.where(kept, tokens, PAD), order, axis=1)


def _new(
    source: Iterator[tuple[np.ndarray, np.ndarray]], size: int, seen: set[bytes]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the first `size` examples of `source` that are not in `seen`, and add them to it.

    Raises:
        ValueError: many blocks in a row held no new example.
    """
    taken = stale = 0
    while taken < size:
        tokens, values = next(source)
        digests = [blake2b(row, digest_size=16).digest() for row in tokens]
        fresh = [row for row, digest in enumerate(digests) if _add(seen, digest)][: size - taken]
        taken += len(fresh)
        stale = 0 if fresh else stale + 1
        if stale == _STALE_BLOCKS:
            raise ValueError(f"only {len(seen)} different expressions found within the limits")
        yield tokens[fresh], values[fresh].astype(np.int64)


def _add(seen: set[bytes], item: bytes) -> bool:
    """Add an item and return whether it is new."""
    before = len(seen)
    seen.add(item)
    return len(seen) > before


def _read_release(file: Path, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of (tokens, values) of a TSV file with the columns Source and Target."""
    longest = max(_LONGEST_LINE, _LONGEST_SYMBOL * width)
    with file.open("rb") as stream:
        lines = iter(lambda: stream.readline(longest), b"")
        if next(lines, b"").split() != [b"Source", b"Target"]:
            raise RunError(f"{file}:1: the header is not Source<TAB>Target")
        numbered = enumerate(lines, 2)
        rows = (_row(file, number, line, width, longest) for number, line in numbered)
        for first in itertools.count(2, _LINES):
            block = list(itertools.islice(rows, _LINES))
            if not block:
                return
            tokens = np.zeros((len(block), width), np.uint8)
            for row, (ids, _) in enumerate(block):
                tokens[row, : len(ids)] = ids
            values = np.array([value for _, value in block], np.int64)
            _refuse_wrong_values(file, first, evaluate(tokens), values)
            yield tokens, values


def _row(file: Path, number: int, line: bytes, width: int, longest: int) -> tuple[np.ndarray, int]:
    """Return the token ids, uint8 (l,), and the value of a line of at most `longest` bytes.

    Raises:
        RunError: the line is malformed; the message names file and line.
    """
    try:
        if len(line) >= longest:
            raise ValueError(f"no line end in {longest:,} bytes")
        ids, value = _parse(line, width)
    except ValueError as error:
        raise RunError(f"{file}:{number}: {error}") from None
    return np.array(ids, np.uint8), value


def _refuse_wrong_values(file: Path, first: int, right: np.ndarray, values: np.ndarray) -> None:
    """Raise RunError for the first line whose value is not that of its expression."""
    for row in np.flatnonzero(right != values)[:1]:
        text = f"the value is {right[row]}, not {values[row]}"
        text = "not one whole expression" if right[row] == INVALID else text
        raise RunError(f"{file}:{first + row}: {text}")


def _parse(line: bytes, width: int) -> tuple[list[int], int]:
    """Return the token ids and the value of one line.

    Raises:
        ValueError: the line is cut off, or is not an expression and its value.
    """
    if not line.endswith(b"\n"):
        raise ValueError("the last line is cut off: the file is truncated")
    source, tab, target = line.strip().partition(b"\t")
    if not tab or len(target) != 1 or not target.isdigit():
        raise ValueError("not an expression, a tab and a digit")
    try:
        ids = [_IDS[word] for word in source.translate(None, b"()").split()]
    except KeyError as error:
        raise ValueError(f"unknown symbol {error.args[0].decode(errors='replace')!r}") from None
    if not ids or len(ids) > width:
        raise ValueError(f"{len(ids)} symbols, must be 1 to {width}")
    if sum(MIN <= token <= SM for token in ids) != ids.count(END):
        raise ValueError("operators and end marks don't match")
    return ids, int(target)
