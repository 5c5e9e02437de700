"""The record files below some folders; whatever cannot be read is named and left out."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lra_bench.errors import RunError, UsageError
from lra_bench.records import record
from lra_bench.records.record import Record

# The kinds of files that records of all sorts are kept in.
_SUFFIXES = (".json", ".jsonl", ".csv")


def files_below(
    folders: Sequence[Path], name: str, closed: Callable[[OSError], object] | None = None
) -> list[Path]:
    """Return the files of that name below the folders, each once.

    Anything of that name is returned, even a folder. A file among the folders is returned unless
    its suffix says that it is of another kind.

    Args:
        folders: where to look; links to folders below them are not followed.
        name: such as "record.json".
        closed: is told of each folder that cannot be opened.

    Raises:
        UsageError: a folder is missing.
    """
    paths: dict[str, Path] = {}
    for folder in folders:
        if not folder.exists():
            raise UsageError(f"no folder {folder}")
        found = _given(folder, name) if folder.is_file() else sorted(_below(folder, name, closed))
        for path in found:
            paths.setdefault(os.path.realpath(path), path)
    return list(paths.values())


def _given(file: Path, name: str) -> list[Path]:
    """Return a file that the user named, unless it is of another kind."""
    others = [suffix for suffix in _SUFFIXES if not name.endswith(suffix)]
    return [] if file.suffix in others else [file]


def _below(folder: Path, name: str, closed: Callable[[OSError], object] | None) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=closed):
        if name in (*folders, *files):
            yield Path(parent, name)


def find(folders: Sequence[Path], closed: Callable[[OSError], object] | None = None) -> list[Path]:
    """Return the record files below the folders, each once; see `files_below`.

    Raises:
        UsageError: a folder is missing.
    """
    return files_below(folders, record.FILE, closed)


def readable(folders: Sequence[Path]) -> Iterator[Record]:
    """Yield each record below the folders; those that cannot be read are named and left out.

    Raises:
        UsageError: a folder is missing.
    """
    for path in find(folders, closed=leave_out):
        try:
            yield record.read(path)
        except RunError as error:
            leave_out(error)


def leave_out(what: object) -> None:
    """Print on standard error what is left out."""
    print(f"lra-bench: left out: {what}", file=sys.stderr)


def collect(folders: Sequence[Path]) -> list[Record]:
    """Return all records below the folders; those that cannot be read are named and left out.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    records = list(readable(folders))
    if not records:
        raise UsageError(f"no records in {', '.join(map(str, folders))}")
    return records
