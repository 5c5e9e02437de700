"""Folders that keep other users out."""

import contextlib
import os
import shutil
import stat
from pathlib import Path

from lra_bench.errors import RunError


def private_folder(path: Path) -> Path:
    """Return a folder that no other user can read or write; it is made if it is not there.

    If others could write to a folder of this user until now, its contents are removed.

    Raises:
        RunError: it belongs to another user, is a link, or cannot be made private.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    before = path.lstat()
    if not stat.S_ISDIR(before.st_mode) or before.st_uid != os.geteuid():
        raise RunError(f"{path} is not a folder of this user; remove it")
    path.chmod(0o700)
    if path.stat().st_mode & 0o077:
        raise RunError(f"{path} can't be made private; its file system lets every user in")
    if before.st_mode & 0o022:
        for child in path.iterdir():
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    return path
