"""The records below some folders; whatever else is there is named and left out."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError, UsageError
from lra_bench.records import record


def find(folders: Sequence[Path], closed: Callable[[OSError], object] | None = None) -> list[Path]:
    """Record files at or below the folders, each once; a file of JSON lines is none.

    Args:
        folders: where to look; links to folders below them aren't followed.
        closed: told of folders that can't be looked into.

    Raises:
        UsageError: a folder is missing.
    """
    paths: dict[str, Path] = {}
    for folder in folders:
        if not folder.exists():
            raise UsageError(f"no folder {folder}")
        found = [folder] if folder.is_file() else sorted(_below(folder, closed))
        found = [path for path in found if path.suffix != ".jsonl"]
        for path in found:
            paths.setdefault(os.path.realpath(path), path)
    return list(paths.values())


def _below(folder: Path, closed: Callable[[OSError], object] | None) -> Iterator[Path]:
    """All that is called a record below a folder, be it a file or not."""
    for place, folders, files in os.walk(folder, onerror=closed):
        if record.FILE in (*folders, *files):
            yield Path(place, record.FILE)


def readable(folders: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each record below the folders, with its path in it too; others are named as left out.

    Raises:
        UsageError: a folder is missing.
    """
    for path in find(folders, closed=leave_out):
        try:
            yield path, {**record.read(path), "path": str(path)}
        except RunError as error:
            leave_out(error)


def leave_out(what: object) -> None:
    """Say on standard error what is left out."""
    print(f"lra-bench: left out: {what}", file=sys.stderr)


def collect(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """All records below the folders; what can't be read is named on standard error.

    Raises:
        UsageError: a folder is missing, or there is no record at all.
    """
    records = [found for _, found in readable(folders)]
    if not records:
        raise UsageError(f"no records in {', '.join(map(str, folders))}")
    return records
