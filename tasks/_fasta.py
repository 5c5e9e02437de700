"""Read protein sequences from a FASTA file, one at a time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lra_bench.errors import RunError
from lra_bench.tasks import _gzip

STANDARD, RARE = "ACDEFGHIKLMNPQRSTVWY", "BOUXZ"
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\xef\xbb\xbf": "UTF-8 with a mark"}
# The longest known protein has 45,000 residues; without a limit, a file without line ends or
# headers fills the memory.
_LONGEST_LINE, _LONGEST = 2**20, 2**24
# Accession of UniProt, or the first word; the organism, up to the next two-letter key.
_ACCESSION = re.compile(r"(?:sp|tr)\|([^|]+)\|")
_ORGANISM = re.compile(r"\bOS=(.*?)(?= [A-Z]{2}=|$)")
# Lower case is soft masking; J, leucine or isoleucine, is an unknown residue to UniProt.
_UPPER = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyzJ", b"ABCDEFGHIXKLMNOPQRSTUVWXYZX")
_RESIDUES = frozenset((STANDARD + RARE).encode())


class FastaEntry(NamedTuple):
    """One entry of a file.

    Attributes:
        accession: the second part of UniProt's identifier, or the first word of the header.
        organism: what follows OS= in the header; "" if nothing does.
        residues: one upper-case letter each.
    """

    accession: str
    organism: str
    residues: bytes


@dataclass
class Counts:
    """Counts of what was left out while a file was read."""

    empty: int = 0


def read(file: Path, counts: Counts) -> Iterator[FastaEntry]:
    """Yield the proteins of a file, which may be compressed by gzip.

    Lower case is read as upper case and J as X; spaces and a `*` at the end of a sequence are left
    out. Entries without residues are counted, and left out.

    Raises:
        RunError: the file is no FASTA file, or is cut off; the message names file and line.
    """
    with _gzip.opened(file) as stream:
        header, parts, size, number = None, [], 0, 0
        for number, line in enumerate(_lines(file, stream), 1):
            if line.startswith(b">"):
                yield from _entry(file, number, header, parts, counts)
                header, parts, size = line, [], 0
            elif header is None:
                if line.strip():
                    raise _no_header(file, number, line)
            else:
                parts.append(line)
                size += len(line)
                if size > _LONGEST:
                    raise RunError(f"{file}:{number}: a sequence of over {_LONGEST:,} letters")
        if header is None:
            raise RunError(f"{file} holds no sequences")
        yield from _entry(file, number + 1, header, parts, counts)


def _lines(file: Path, stream: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), b""), 1):
        if len(line) == _LONGEST_LINE:
            raise RunError(f"{file}:{number}: no line end in {_LONGEST_LINE:,} bytes")
        yield line


def _no_header(file: Path, number: int, line: bytes) -> RunError:
    for mark, name in _MARKS.items():
        if line.startswith(mark):
            return RunError(f"{file} is text in {name}; FASTA is plain ASCII")
    start = line[:20].decode("ascii", "backslashreplace").strip()
    return RunError(
        f"{file}:{number}: no FASTA file: {start!r} comes before any header line (>...)"
    )


def _entry(
    file: Path, after: int, header: bytes | None, parts: list[bytes], counts: Counts
) -> Iterator[FastaEntry]:
    """Yield the protein whose lines end before line `after`, if it has residues."""
    if header is None:
        return
    residues = b"".join(b"".join(parts).split()).translate(_UPPER).removesuffix(b"*")
    if not residues:
        counts.empty += 1
        return
    if wrong := set(residues) - _RESIDUES:
        letter = bytes([min(wrong)])
        first = next(i for i, part in enumerate(parts) if set(part.translate(_UPPER)) & wrong)
        raise RunError(f"{file}:{after - len(parts) + first}: {_remark(letter)}")
    text = header[1:].decode("utf-8", "replace").strip()
    found, organism = _ACCESSION.match(text), _ORGANISM.search(text)
    accession = found[1] if found else (text.split() or [""])[0]
    yield FastaEntry(accession, organism[1].strip() if organism else "", residues)


def _remark(letter: bytes) -> str:
    shown = repr(letter).removeprefix("b")
    if letter in b"-.":
        return f"{shown} is a gap of an alignment; remove the gaps first"
    if letter == b"*":
        return "'*' within a sequence; it may only be its end"
    return f"{shown} is no amino acid: {STANDARD} and {RARE} are"
