"""Paths that users write, and why the system refuses them."""

import errno
import os
from pathlib import Path

from lra_bench.errors import UsageError, one_line

# Errors of the operating system that another path would not have.
OF_THE_PATH = {
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a part of it is a file, not a folder",
    errno.EISDIR: "a folder, not a file",
    errno.EEXIST: "something else is there",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "on a file system that can only be read",
    errno.ENAMETOOLONG: "too long a name",
    errno.ELOOP: "links that lead in a circle",
    errno.EINVAL: "not a name that this file system takes",
}


def reason(error: OSError) -> str:
    """Return in words what an error of the operating system says, without its path."""
    text = error.strerror or str(error)
    return OF_THE_PATH.get(error.errno or 0, text)


def unreadable(error: OSError | ValueError) -> str:
    """Return why the contents of a file cannot be used, in words and without its path."""
    return reason(error) if isinstance(error, OSError) else one_line(error)


def expanded(text: str) -> Path:
    """Return the path that a user wrote; "~" and "~user" are home folders.

    Raises:
        UsageError: it is empty, holds a NUL character or bytes that are not UTF-8, which no record
            can hold, or there is no such home folder.
    """
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is no path: it {'holds a NUL' if text else 'is empty'}")
    if not is_text(text):
        raise UsageError(f"{text!r}: records can't hold this name, which is not UTF-8; rename it")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: {_homeless(Path(text).parts[0])}") from None


def is_text(name: str) -> bool:
    """Return whether a name is UTF-8; Python reads other bytes as halves of surrogate pairs."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _homeless(home: str) -> str:
    """Say why "~" or "~user" stands for no folder: a container may know only a user's number."""
    if home == "~":
        return f"user {os.getuid()} has no home folder, and $HOME is not set"
    return f"there is no home folder {home}"
