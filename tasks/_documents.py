"""Read text files as documents, in pieces, so that memory does not grow with the files."""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from lra_bench.contracts import SPLITS
from lra_bench.errors import RunError
from lra_bench.tasks import _archive, _gzip
from lra_bench.tasks._hash_split import split_of

Kind = Literal["file", "paragraph", "line"]
_NAMES = (".txt", ".txt.gz")
_PART = 2**20
# A paragraph or line is held in memory.
_LONGEST = 2**24
_OTHER_UNICODE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


class Piece(NamedTuple):
    """A part of a document.

    Attributes:
        split: of the document.
        text: bytes; empty only at the end of a document.
        last: whether the document ends with it.
    """

    split: str
    text: bytes
    last: bool


def find(task: str, path: Path | None) -> dict[str, Path]:
    """Return the text files at a path, by name: the file itself, or those of the folder.

    If the folder has folders train, validation and test, their files count alone.

    Raises:
        RunError: there are none.
    """
    if path is None:
        raise RunError(f"{task}: give a text file or a folder of text files: --source PATH")
    if path.is_file():
        return {path.name: path}
    roots = [path / split for split in SPLITS] if has_splits(path) else [path]
    found = sorted(each for root in roots for each in root.rglob("*") if _is_text(each))
    if not found:
        raise RunError(f"{task}: {path} holds no file *.txt or *.txt.gz")
    # Empty files are all the same, and no text.
    filled = {each.relative_to(path).as_posix(): each for each in found if each.stat().st_size}
    if not filled:
        raise RunError(f"{task}: all text files of {path} are empty")
    return filled


def _is_text(path: Path) -> bool:
    return path.name.endswith(_NAMES) and path.is_file()


def has_splits(path: Path) -> bool:
    """Return whether a folder has folders train, validation and test, as PG-19 has."""
    return all((path / split).is_dir() for split in SPLITS)


def read(files: dict[str, Path], kind: Kind, empty: list[str], *, split: bool) -> Iterator[Piece]:
    """Yield the documents of the files, which follow each other by the SHA-256 of their names.

    Args:
        files: the text files, by name.
        kind: what a document is. A file that is alone has paragraphs instead of being one.
        empty: the names of files without text are added.
        split: whether the first folder of a name is the split; else the hash of the document
            decides.

    Raises:
        RunError: a file is no text in UTF-8, or is damaged; the message names it.
    """
    if kind == "file" and len(files) == 1 and not split:
        kind = "paragraph"
    for name in sorted(files, key=_archive.digest):
        given = name.partition("/")[0] if split else None
        pieces = _whole(files[name], given) if kind == "file" else _parts(files[name], kind, given)
        none = True
        for piece in pieces:
            none = False
            yield piece
        if none:
            empty.append(name)


def _whole(file: Path, split: str | None) -> Iterator[Piece]:
    """Yield a file as one document; its bytes are read twice if their hash decides."""
    chosen = split or split_of(file_digest(file))
    pieces = iter(stream(file))
    if (piece := next(pieces, None)) is None:
        return
    for after in pieces:
        yield Piece(chosen, piece, last=False)
        piece = after
    yield Piece(chosen, piece, last=True)


def _parts(file: Path, kind: Kind, split: str | None) -> Iterator[Piece]:
    """Yield the paragraphs or the lines of a file."""
    for text in _paragraphs(file) if kind == "paragraph" else filter(bytes.strip, _lines(file)):
        yield Piece(split or split_of(_hash(text).digest()), text, last=True)


def _hash(text: bytes = b"") -> blake2b:
    return blake2b(text, digest_size=8)


def file_digest(file: Path) -> bytes:
    """Return a hash of the text of a file, 8 bytes."""
    found = _hash()
    for piece in stream(file):
        found.update(piece)
    return found.digest()


def _paragraphs(file: Path) -> Iterator[bytes]:
    """Yield the runs of lines that are not blank."""
    lines, size = [], 0
    for line in chain(_lines(file), [b""]):
        if line.strip():
            lines.append(line)
            size += len(line) + 1
            _require_short(file, size, "paragraph")
        elif lines:
            yield b"\n".join(lines)
            lines, size = [], 0


def _lines(file: Path) -> Iterator[bytes]:
    left = b""
    for piece in stream(file):
        *whole, left = (left + piece).split(b"\n")
        _require_short(file, len(left), "line")
        yield from whole
    if left:
        yield left


def _require_short(file: Path, size: int, what: str) -> None:
    if size > _LONGEST:
        raise RunError(f"{file} has a {what} of over {_LONGEST:,} bytes")


def stream(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a text file, which may be compressed by gzip, a mebibyte at a time.

    The mark of UTF-8 at the start is left out. Other bytes that are not UTF-8 stay as they are.

    Raises:
        RunError: it is cut off or damaged, or text in UTF-16 or UTF-32, or no text.
    """
    with _gzip.opened(file) as opened:
        start = 0
        while piece := opened.read(_PART):
            if not start and piece.startswith(_OTHER_UNICODE):
                raise RunError(f"{file} is text in UTF-16 or UTF-32; convert it to UTF-8 first")
            if b"\0" in piece:
                place = start + piece.index(b"\0")
                why = "a binary file, or text in UTF-16 or UTF-32; give text in UTF-8"
                raise RunError(f"{file} has a zero byte at {place:,}: {why}")
            if text := piece if start else piece.removeprefix(_UTF8_MARK):
                yield text
            start += len(piece)
