"""Arguments that are paths: they are checked before any work begins, and named in errors."""

import argparse
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lra_bench.errors import NOT_ALLOWED, UsageError
from lra_bench.files.paths import OF_THE_PATH, expanded, reason


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


@dataclass(frozen=True)
class PathArgument:
    """The type of an argument that is a path; "~" is the home folder.

    Attributes:
        exists: whether something has to be there, which can be read.
        folder: whether it is a folder; None for a folder or a file.
    """

    exists: bool
    folder: bool | None

    def __call__(self, text: str) -> Path:
        """Return the path; the file system is not asked."""
        try:
            return expanded(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


output_folder = PathArgument(exists=False, folder=True)
output_file = PathArgument(exists=False, folder=False)
input_file = PathArgument(exists=True, folder=False)
input_folder = PathArgument(exists=True, folder=True)
records_path = PathArgument(exists=True, folder=None)
# A run that goes on does not need the checkpoint that it began with.
checkpoint_path = PathArgument(exists=False, folder=True)


def compared(text: str) -> str:
    """Return a name of --compare; "~" in the path of a folder is the home folder."""
    return str(records_path(text)) if text.startswith("~") else text


Given = list[tuple[argparse.Action, Path]]


def given(actions: Iterable[argparse.Action], args: argparse.Namespace) -> Given:
    """Return the paths among the arguments, each with its definition."""
    pairs: Given = []
    for action in actions:
        value = getattr(args, action.dest, None)
        for path in value if isinstance(value, list) else [value]:
            if isinstance(action.type, PathArgument) and isinstance(path, Path):
                pairs.append((action, path))
    return pairs


def check(paths: Given) -> None:
    """Check that paths are what they have to be; nothing is written.

    Raises:
        UsageError: one is not; the message names the first.
    """
    for action, path in paths:
        assert isinstance(action.type, PathArgument)
        trouble = problem(path, exists=action.type.exists, folder=action.type.folder)
        if trouble is None and action.type is output_file:
            trouble = _of_a_run(path)
        if trouble:
            raise UsageError(f"{_named(action)}{path}: {trouble}")


def _of_a_run(path: Path) -> str | None:
    """Return a message if the path is a file that a run, a sweep or a measurement wrote."""
    if not path.exists():
        return None
    from lra_bench.efficiency import records
    from lra_bench.records import metrics, record, run_folder
    from lra_bench.sweep import history

    own = {record.FILE, metrics.FILE, run_folder.CONFIG, *run_folder.COPIES.values()}
    own |= {records.FILE, history.PLAN, history.EVENTS}
    message = "is there already, a file of lra-bench's own; choose another name"
    return message if path.resolve().name in own else None


def _named(action: argparse.Action) -> str:
    """Return the option, with a space after it; "" for an argument without a name."""
    return f"{action.option_strings[0]} " if action.option_strings else ""


def blame(error: OSError, paths: Given, args: argparse.Namespace) -> str | None:
    """Return the message for an error that another path would not have; None for other errors.

    Args:
        error: the error of the operating system.
        paths: the paths among the arguments.
        args: all arguments.
    """
    if error.errno not in OF_THE_PATH or error.filename is None:
        return None
    failed = str(Path(os.fsdecode(error.filename)).absolute())
    for option, path in [*((_named(action), path) for action, path in paths), *_others(args)]:
        if _related(failed, str(path.absolute())):
            at = "" if failed == str(path.absolute()) else f" (at {failed})"
            return f"{option}{path}: can't be used: {reason(error)}{at}"
    if error.errno in NOT_ALLOWED:
        # Without --out, results go below the working folder.
        remedy = "; choose another place with --out" if getattr(args, "out", "") is None else ""
        return f"{failed}: can't be used: {reason(error)}{remedy}"
    return None


def _others(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield the path of --source and that of the data folder, each with how it is called."""
    if source := getattr(args, "source_files", None):
        yield "--source ", source
    if getattr(args, "data_dir", True) is None:
        from lra_bench.data.location import data_root

        yield "the data folder (--data-dir or $LRA_BENCH_DATA) ", data_root(None)


def _related(failed: str, path: str) -> bool:
    """Return whether one of two absolute paths is the other, or lies below it."""
    shorter, longer = sorted((failed, path), key=len)
    return longer == shorter or longer.startswith(shorter.rstrip("/") + "/")
