"""Paths that users write."""

import os
from pathlib import Path

from lra_bench.errors import UsageError


def expanded(text: str) -> Path:
    """Return the path that a user wrote; "~" and "~user" are home folders.

    Raises:
        UsageError: it is empty, holds a NUL character, or there is no such home folder.
    """
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is no path: it {'holds a NUL' if text else 'is empty'}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: {_homeless(Path(text).parts[0])}") from None


def _homeless(home: str) -> str:
    """Say why "~" or "~user" stands for no folder: a container may know only a user's number."""
    if home == "~":
        return f"user {os.getuid()} has no home folder, and $HOME is not set"
    return f"there is no home folder {home}"
