"""Arguments that are paths: they are checked before any work begins, and named in errors."""

import argparse
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from lra_bench.errors import UsageError
from lra_bench.files import expanded

# Errors of the operating system that another path would not have.
_OF_THE_PATH = {
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
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_POSITIONALS = {"dirs": "DIR", "run_dir": "RUN_DIR", "source_files": "--source"}


def reason(error: OSError) -> str:
    """Return in words what an error of the operating system says, without its path."""
    text = error.strerror or str(error)
    return _OF_THE_PATH.get(error.errno or 0, text)


def problem(path: Path, *, exists: bool, folder: bool | None) -> str | None:
    """Return why a path cannot be what it has to be; None if nothing speaks against it.

    Args:
        path: the path.
        exists: whether something has to be there, which can be read.
        folder: whether it is a folder; None for a folder or a file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _dangling(path) or ("no such file or folder" if exists else None)
    except OSError as error:
        return reason(error)
    if folder is not False and stat.S_ISDIR(mode):
        readable = not exists or os.access(path, os.R_OK | os.X_OK)
        return None if readable else "permission denied"
    if folder is False and stat.S_ISDIR(mode):
        return "a folder, not a file"
    if not stat.S_ISREG(mode):
        return "a device, a pipe or a socket"
    if folder:
        return "is a file, not a folder"
    return None if not exists or os.access(path, os.R_OK) else "permission denied"


def _dangling(path: Path) -> str | None:
    """Return a message if the path, or a folder above it, is a link to nothing."""
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            return f"a link to {str(each.readlink())!r}, which does not exist"
    return None


def path_argument(*, exists: bool, folder: bool | None) -> Callable[[str], Path]:
    """Return the parser of an argument that is a path; "~" is the home folder.

    Args:
        exists: whether something has to be there, which can be read.
        folder: whether it is a folder; None for a folder or a file.
    """

    def parse(text: str) -> Path:
        try:
            path = expanded(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if trouble := problem(path, exists=exists, folder=folder):
            raise argparse.ArgumentTypeError(f"{text!r}: {trouble}")
        return path

    return parse


output_folder = path_argument(exists=False, folder=True)
output_file = path_argument(exists=False, folder=False)
input_folder = path_argument(exists=True, folder=True)
records_path = path_argument(exists=True, folder=None)
# A run that goes on does not need the checkpoint that it began with.
checkpoint_path = path_argument(exists=False, folder=True)


def compared(text: str) -> str:
    """Return a name of --compare; "~" in the path of a folder is the home folder."""
    return str(path_argument(exists=True, folder=None)(text)) if text.startswith("~") else text


def blame(error: OSError, args: argparse.Namespace) -> str | None:
    """Return the message for an error that another path would not have; None for other errors.

    Args:
        error: the error of the operating system.
        args: the arguments, whose paths are named in the message.
    """
    if error.errno not in _OF_THE_PATH or error.filename is None:
        return None
    failed = str(Path(os.fsdecode(error.filename)).absolute())
    for option, path in _paths(args):
        if _related(failed, str(path.absolute())):
            at = "" if failed == str(path.absolute()) else f" (at {failed})"
            return f"{option} {path}: can't be used: {reason(error)}{at}"
    if error.errno in _NOT_ALLOWED:
        return f"{failed}: can't be used: {reason(error)}"
    return None


def _paths(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield the paths among the arguments, each with its option; last, the folder of all data."""
    for name, value in vars(args).items():
        option = _POSITIONALS.get(name, f"--{name.replace('_', '-')}")
        for path in value if isinstance(value, list | tuple) else (value,):
            if isinstance(path, Path):
                yield option, path
    if getattr(args, "data_dir", True) is None:
        from lra_bench.data.location import data_root

        yield "the data folder (--data-dir or $LRA_BENCH_DATA)", data_root(None)


def _related(failed: str, path: str) -> bool:
    """Return whether one of two absolute paths is the other, or lies below it."""
    shorter, longer = sorted((failed, path), key=len)
    return longer == shorter or longer.startswith(shorter.rstrip("/") + "/")
