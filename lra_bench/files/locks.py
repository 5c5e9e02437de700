"""Keep other processes out while files are written."""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

# How flock says that a file system has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
_warned: set[Path] = set()


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file while the block runs.

    Where the file system has no locks (Lustre without the option flock, some NFS), the block runs
    without one, after a warning. The block may remove the file: whoever waits for it then takes a
    new one.

    Args:
        path: the lock file; its folder is made.
        wait: whether to wait for another process that holds it.

    Yields:
        False where another process holds it and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as file:
            ours = _lock(file, path, wait=wait)
            if not ours or _is_there(file, path):
                yield ours
                return


def _lock(file: TextIO, path: Path, *, wait: bool) -> bool:
    """Lock a file, and return whether no other process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _warn_of_no_locks(path.parent, error)
    return True


def _is_there(file: TextIO, path: Path) -> bool:
    """Return whether a path still leads to an open file, which its holder may have removed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _warn_of_no_locks(folder: Path, error: OSError) -> None:
    """Say once for each folder that nothing keeps other processes out of it."""
    if folder not in _warned:
        _warned.add(folder)
        text = f"{folder} is on a file system without locks ({error.strerror})"
        remedy = "start one command at a time there, or choose a folder on another file system"
        print(f"lra-bench: {text}: {remedy}", file=sys.stderr)
