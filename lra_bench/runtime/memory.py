"""How much memory this process has, had at most, and may have. Linux; elsewhere less is known."""

import contextlib
import ctypes
import gc
import os
import re
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# As XLA and NumPy say it: "allocating 4294967296 bytes", "allocate 8.00 GiB", and of a TPU
# "Used 20.1G of 15.75G hbm", "temporaries (30.47G) exceeds available HBM".
_ASKED = re.compile(
    r"(?:(?:allocat\w*|[Uu]sed)\s+|\()([\d.]+)\s*([KMGT]?)(?:i?B|\s?bytes|\s+of|\) exceeds)"
)

_LEAST_SCRATCH, _SCRATCH_SHARE = 96 * 2**20, 1 / 64

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_STILL, _LOOK_SECONDS = 10, 0.02


def status(key: str) -> int | None:
    """Bytes by /proc/self/status: VmRSS, VmHWM (the largest VmRSS), VmData; None if not there."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(found[0]) * 1024 if found else None


def resident() -> int:
    """The resident set, in bytes, what was freed given back first; the peak counts anew."""
    _call("malloc_trim", 0)
    settled()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return status("VmRSS") or 0


def peak() -> int:
    """The largest resident set since `resident`, else since the start, in bytes."""
    return status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def give_back_at_once(*, yes: bool) -> None:
    """Whether malloc returns what is freed to the system, or keeps up to 32 MiB a block.

    The first makes memory exact; the second is what a process comes to by itself, and faster.
    """
    _call("mallopt", _M_MMAP_THRESHOLD, 2**17 if yes else 2**25)
    _call("mallopt", _M_TRIM_THRESHOLD, 2**17 if yes else 2**26)


def settled() -> int:
    """VmData once it has stopped falling: arrays are let go of a moment later."""
    gc.collect()  # jaxlib lets go of NumPy's arrays only then
    found, still = status("VmData") or 0, 0
    while still < _STILL:
        time.sleep(_LOOK_SECONDS)
        now = status("VmData") or 0
        still = 0 if now < found else still + 1
        found = min(found, now)
    return found


def cap(budget: int | None) -> None:
    """Let this process allocate so many bytes more than now, and not one beyond; None for any.

    RLIMIT_DATA counts what is private and writable, be it touched or not.
    """
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = most if budget is None else settled() + budget
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def scratch(limit: int) -> int:
    """Bytes that threads may take beside arrays of `limit` bytes, such as to pack the matrices of a
    product: of products for each head apart, XLA packs all heads' at once.
    """
    return max(_LEAST_SCRATCH, round(limit * _SCRATCH_SHARE))


@contextlib.contextmanager
def limited(budget: int | None) -> Iterator[None]:
    """Within the block, let this process allocate so many bytes of arrays more; None for any."""
    if budget is None:
        yield
        return
    cap(budget + scratch(budget))
    try:
        yield
    finally:
        cap(None)


def limit_allocator(limit: int) -> None:
    """Have JAX take no more than so many bytes of a GPU; before it has touched any."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        total = int(found.stdout.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(limit / total, 1):.6f}"


def bytes_asked(message: str) -> int | None:
    """What the allocation that failed asked for, if the message says so."""
    found = _ASKED.search(message)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def die_first() -> None:
    """Be killed before the sweep when the system is out of memory, and when the sweep dies."""
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
    """How many processes the system has killed for want of memory, here or in this container."""
    places = ("/proc/vmstat", "/sys/fs/cgroup/memory.events")
    return sum(_count(Path(place), "oom_kill") for place in places)


def _count(path: Path, key: str) -> int:
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return sum(int(word[1]) for word in words if len(word) == 2 and word[0] == key)


def of_the_machine() -> int:
    """The machine's or, if it is less, the container's memory, in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    except (OSError, StopIteration):
        total = resource.getpagesize() * os.sysconf("SC_PHYS_PAGES")
    return min(total, _container(total))


def _container(otherwise: int) -> int:
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return otherwise
