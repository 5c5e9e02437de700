"""Telling what kind of failure an exception is: libraries raise the same types for many."""

import errno
from collections.abc import Iterator

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_SIGNS = ("No space left on device", "Disk quota exceeded")
_NO_MEMORY_SIGNS = (
    "RESOURCE_EXHAUSTED",
    "Out of memory",
    "YNNPACK operation failed",
    "Cannot allocate memory",
    "can't start new thread",
)


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk or a quota is full, however deep the cause lies."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _DISK_FULL)
        or any(sign in str(cause) for sign in _DISK_FULL_SIGNS)
        for cause in _causes(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the host's or a device's, ran out. Ask `is_disk_full` first."""
    return any(
        isinstance(cause, MemoryError) or any(sign in str(cause) for sign in _NO_MEMORY_SIGNS)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def one_line(error: BaseException) -> str:
    """Type and first line of the message."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
