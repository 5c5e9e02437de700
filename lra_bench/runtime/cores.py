"""The CPU cores that this process may use, and those that other processes are pinned to."""

import os
from collections import Counter
from pathlib import Path

_PROCESSES = Path("/proc")


def can_pin() -> bool:
    """Return whether a process can be pinned to cores, as on Linux but not on macOS."""
    return hasattr(os, "sched_getaffinity")


def usable() -> list[int]:
    """Return the numbers of the cores that this process may use, in ascending order."""
    return sorted(os.sched_getaffinity(0)) if can_pin() else [*range(os.cpu_count() or 1)]


def least_taken_first() -> list[int]:
    """Return the numbers of the cores that this process may use, the least taken ones first.

    A core is taken by each process that is pinned to it and may not use all of these cores, such
    as the run of another sweep. Cores that are equally taken are in ascending order.
    """
    cores = usable()
    taken = _pinned(set(cores)) if can_pin() else Counter()
    return sorted(cores, key=lambda core: taken[core])


def _pinned(cores: set[int]) -> Counter[int]:
    """Return how many processes are pinned to each of these cores."""
    found = (_allowed(folder) for folder in _PROCESSES.glob("[0-9]*"))
    return Counter(core for allowed in found if not cores <= allowed for core in allowed)


def _allowed(folder: Path) -> set[int]:
    """Return the cores of a process; none for a thread of the kernel or a process that ended."""
    try:
        kernel = not (folder / "cmdline").read_bytes()
        return set() if kernel else os.sched_getaffinity(int(folder.name))
    except OSError:
        return set()
