"""The record files below some folders; whatever cannot be read is named and left out."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from lra_bench.display.busy import say
from lra_bench.display.escape import terminal
from lra_bench.errors import RunError, UsageError
from lra_bench.files.paths import reason
from lra_bench.records import record
from lra_bench.records.record import Record

# The kinds of files that records of all sorts are kept in.
_SUFFIXES = (".json", ".jsonl", ".csv")
# The messages of the command that runs now; None outside a command.
_NAMED: ContextVar[dict[str, None] | None] = ContextVar("named", default=None)


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
    """Yield what has that name. Folders wait in a list: they can be nested without end."""
    waiting = [os.fspath(folder)]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(parent) as entries:
                for entry in entries:
                    if entry.name == name:
                        yield Path(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as error:
            if closed is not None:
                closed(error)


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
    """Print on standard error what is left out; within `naming`, each thing once.

    Args:
        what: a text, or the error of the system about a folder.
    """
    if isinstance(what, OSError) and what.filename is not None:
        what = f"{os.fsdecode(what.filename)}: {reason(what)}"
    text, named = terminal(what), _NAMED.get()
    if named is None or text not in named:
        say(f"lra-bench: left out: {text}", stream=sys.stderr)
    if named is not None:
        named[text] = None


def leave_out_lines(count: int, path: Path) -> None:
    """Say how many lines of a file are left out."""
    leave_out(f"{count} line{'' if count == 1 else 's'} of {path}, not readable")


@contextlib.contextmanager
def naming() -> Iterator[dict[str, None]]:
    """Name each thing that is left out once while the block runs; yield all that was named."""
    named: dict[str, None] = {}
    token = _NAMED.set(named)
    try:
        yield named
    finally:
        _NAMED.reset(token)


def collect(folders: Sequence[Path]) -> list[Record]:
    """Return all records below the folders; those that cannot be read are named and left out.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    records = list(readable(folders))
    if not records:
        where = ", ".join(map(str, folders))
        raise UsageError(f"no records in {where}; lra-bench run and sweep write them to --out")
    return records
