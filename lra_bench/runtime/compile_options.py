"""Options of XLA for programs that run only once, and the number of programs compiled at a time."""

import os

from lra_bench.runtime import cores

_LEVEL = "xla_backend_optimization_level"


def quick(platform: str) -> dict[str, int]:
    """Return the options with which a program that runs only once is compiled in half the time.

    LLVM optimises less, which changes no result. Below level 1 it would: additions and
    multiplications are then not contracted as in other programs. A level that the variable
    XLA_FLAGS gives is kept.

    Args:
        platform: "cpu", "gpu" or "tpu"; only CPUs have such options.
    """
    if platform != "cpu" or _LEVEL in os.environ.get("XLA_FLAGS", ""):
        return {}
    return {_LEVEL: 1}


def threads(processes: int) -> int:
    """Return how many programs to compile at a time: one for each core of this process.

    XLA compiles most of a program in one thread. Several processes of a run must compile the same
    programs in the same order, so they compile one at a time.

    Args:
        processes: that do the run together.
    """
    return 1 if processes > 1 else len(cores.usable())
