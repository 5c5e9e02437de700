"""The memory that this process has, had at most, and may have, in bytes.

All of it works on Linux; other systems tell less.
"""

import contextlib
import ctypes
import gc
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# As XLA and NumPy say it: "allocating 4294967296 bytes", "allocate 8.00 GiB", and of a TPU
# "Used 20.1G of 15.75G hbm", "temporaries (30.47G) exceeds available HBM".
_ASKED = re.compile(
    r"(?:(?:allocat\w*|[Uu]sed)\s+|\()([\d.]+)\s*([KMGT]?)(?:i?B|\s?bytes|\s+of|\) exceeds)"
)

_LEAST_SCRATCH, _SCRATCH_SHARE = 96 * 2**20, 1 / 64

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_STILL, _LOOK_SECONDS = 10, 0.02

# With less address space JAX aborts the process, and array_record waits for ever.
TO_COMPUTE, TO_READ_ARCHIVES = 2_000_000 * 2**10, 4_000_000 * 2**10


def require_address_space(least: int, purpose: str) -> None:
    """Check that the limit on the process's address space, `ulimit -v`, leaves enough.

    Args:
        least: the bytes that are needed.
        purpose: what they are needed for, such as "to compute".

    Raises:
        RunError: the limit is lower.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < least:
        text = f"{least >> 10:,} KB are needed {purpose}"
        raise RunError(f"out of memory: ulimit -v allows {limit >> 10:,} KB, but {text}: raise it")


def status(key: str) -> int | None:
    """Return a figure of /proc/self/status, in bytes; None if it is not there.

    Args:
        key: VmRSS, the resident set; VmHWM, the largest so far; or VmData.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    figures = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(figures[0]) * 1024 if figures else None


def resident() -> int | None:
    """Give freed memory back, return the resident set in bytes, and let the peak start anew.

    It is None where the system does not let the peak start anew.
    """
    _call("malloc_trim", 0)
    settled()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return status("VmRSS")


def peak() -> int:
    """Return the largest resident set since `resident`, else since the start, in bytes.

    Linux keeps it as VmHWM. `ru_maxrss` is not it there: it survives exec, so it may be that of the
    process that started this one. It is used where there is nothing better; see `peak_method`.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_method() -> str:
    """Return the name of the figure that `peak` reads: "VmHWM" or "ru_maxrss"."""
    return "VmHWM" if status("VmHWM") else "ru_maxrss"


def peak_of(device: Any) -> int:
    """Return the peak memory in bytes of a device that counts it, else of this process."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    return peak()


def give_back_at_once(*, yes: bool) -> None:
    """Make malloc return freed memory to the system at once, or keep blocks of up to 32 MiB.

    The first makes memory figures exact. The second is faster, and what a process arrives at by
    itself.
    """
    _call("mallopt", _M_MMAP_THRESHOLD, 2**17 if yes else 2**25)
    _call("mallopt", _M_TRIM_THRESHOLD, 2**17 if yes else 2**26)


def settled() -> int:
    """Return VmData in bytes once it has stopped falling: arrays are freed with a delay."""
    gc.collect()  # jaxlib frees NumPy's arrays only then
    least, still = status("VmData") or 0, 0
    while still < _STILL:
        time.sleep(_LOOK_SECONDS)
        now = status("VmData") or 0
        still = 0 if now < least else still + 1
        least = min(least, now)
    return least


def cap(budget: int | None) -> None:
    """Let this process allocate so many bytes more than now; None for any number.

    RLIMIT_DATA counts private writable memory, whether or not it was ever touched.
    """
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = most if budget is None else settled() + budget
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def scratch(limit: int) -> int:
    """Return the bytes that threads may take besides arrays of `limit` bytes.

    XLA needs them to pack the matrices of a product; it packs the matrices of all heads at once.
    """
    return max(_LEAST_SCRATCH, round(limit * _SCRATCH_SHARE))


@contextlib.contextmanager
def limited(budget: int | None) -> Iterator[None]:
    """Within the block, let this process allocate so many bytes of arrays; None for any number."""
    if budget is None:
        yield
        return
    cap(budget + scratch(budget))
    try:
        yield
    finally:
        cap(None)


def bytes_asked(message: str) -> int | None:
    """Return the bytes that a failed allocation asked for, if the message says so."""
    match = _ASKED.search(message)
    return round(float(match[1]) * _UNITS[match[2]]) if match else None


def die_first() -> None:
    """Let the system kill this process before its sweep, and when its sweep dies."""
    _call("prctl", 1, 9)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def _call(name: str, *args: int) -> None:
    """Call the C library, where it has such a function."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*args)


def kills() -> int:
    """Return how many processes the system, or this container, has killed to free memory."""
    files = ("/proc/vmstat", "/sys/fs/cgroup/memory.events")
    return sum(_count(Path(file), "oom_kill") for file in files)


def _count(path: Path, key: str) -> int:
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(word[1]) for word in words if len(word) == 2 and word[0] == key)


def of_the_machine() -> int:
    """Return the memory of the machine or, if it is less, of the container, in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    except (OSError, StopIteration):
        total = resource.getpagesize() * os.sysconf("SC_PHYS_PAGES")
    return min(total, _container(total))


def available() -> int | None:
    """Return the bytes that new processes can have on this machine; None if that is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return free[0] if free else None


def _container(otherwise: int) -> int:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return otherwise
