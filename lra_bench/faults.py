"""Telling what kind of failure an exception is: libraries raise the same types for many."""

import errno

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk or a quota is full, however deep the cause lies."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
            return True
        if "No space left on device" in str(cause) or "Disk quota exceeded" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the host's or a device's, ran out. Ask `is_disk_full` first."""
    signs = ("RESOURCE_EXHAUSTED", "Out of memory", "YNNPACK operation failed")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def one_line(error: BaseException) -> str:
    """Type and first line of the message."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
