"""The errors of the harness, and how to tell what went wrong inside a library.

    Exception
     ├─ UsageError   the call was wrong: exit status 2
     └─ RunError     the call was right, but a run or a check failed: exit status 1

Two more exceptions are not failures of the program: `runtime.stopping.Stopped` ends a run that was
asked to stop, and `training.evaluator.Diverged` ends one whose loss is not finite.
"""

import contextlib
import errno
import sys
from collections.abc import Callable, Iterator, Sequence

from lra_bench.suggest import did_you_mean, quoted
from lra_bench.suggest import suggestions as suggestions

# How the operating system says that a user may not read or write somewhere.
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_SIGNS = ("No space left on device", "Disk quota exceeded")
# How Python, NumPy, the C++ library, XLA and TensorStore say that memory ran out.
_OUT_OF_MEMORY_SIGNS = (
    "MemoryError",
    "Unable to allocate",
    "RESOURCE_EXHAUSTED",
    "Out of memory",
    "bad_alloc",
    "YNNPACK operation failed",
    "Cannot allocate memory",
    "can't start new thread",
    "failed to map segment from shared object",
)
KILLED_FOR_MEMORY = "killed by the system, which had no memory left"


class UsageError(Exception):
    """The call was wrong: exit status 2. The message names the valid choices."""


class RunError(Exception):
    """The call was right but a run or a check failed: exit status 1."""


def unknown(kind: str, name: str, valid: Sequence[str]) -> UsageError:
    """Return the error for an unknown name; it suggests the nearest names and lists the valid."""
    names = f"valid: {', '.join(valid)}" if valid else "there is none"
    return UsageError(f"unknown {kind} {quoted(name)}; {did_you_mean(name, valid)}{names}")


def is_disk_full(error: BaseException) -> bool:
    """Return whether a disk or a quota is full, however deep the cause lies."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _DISK_FULL)
        or any(sign in str(cause) for sign in _DISK_FULL_SIGNS)
        for cause in _causes(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory of the host or a device ran out. Ask `is_disk_full` first."""
    return any(
        isinstance(cause, MemoryError) or says_out_of_memory(str(cause)) for cause in _causes(error)
    )


def says_out_of_memory(text: str) -> bool:
    """Return whether a message of a library or of a process says that memory ran out."""
    return any(sign in text for sign in _OUT_OF_MEMORY_SIGNS)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def one_line(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def unreported(expected: Callable[[BaseException | None], bool]) -> Iterator[None]:
    """Within the block, print nothing about expected exceptions that nobody can catch.

    Python prints an exception that is raised where no caller can catch it, such as in a destructor.

    Args:
        expected: tells whether such an exception is expected.
    """
    before = sys.unraisablehook

    def report(dropped: "sys.UnraisableHookArgs") -> None:
        if not expected(dropped.exc_value):
            before(dropped)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
