"""Accelerators that this machine may lack: JAX compiles for them ahead of time."""

import importlib.util
from typing import Any

from lra_bench.efficiency import gpus
from lra_bench.efficiency.cells import ESTIMATE, HERE
from lra_bench.errors import UsageError, unknown

# The smallest topology of each kind that the compiler knows: a host with four chips.
TOPOLOGIES = {
    "tpu-v2": "v2:2x2",
    "tpu-v3": "v3:2x2",
    "tpu-v4": "v4:2x2x1",
    "tpu-v5e": "v5e:2x2",
    "tpu-v5p": "v5p:2x2x1",
    "tpu-v6e": "v6e:2x2",
}
NAMES = (HERE, ESTIMATE, *TOPOLOGIES, *gpus.NAMES)


def check(target: str) -> None:
    """Check that cells can be measured on, or compiled for, a target.

    Raises:
        UsageError: no target has that name, its compiler is not installed, or a GPU's description
            cannot be read.
    """
    if target in TOPOLOGIES and importlib.util.find_spec("libtpu") is None:
        raise UsageError(f"--target {target} needs the compiler: pip install 'lra-bench[tpu]'")
    if is_gpu(target):
        gpus.check(target)
    elif target not in NAMES:
        raise unknown("--target", target, [*NAMES, "path/to/gpu.txt"])


def is_gpu(target: str) -> bool:
    """Return whether programs are compiled for a GPU's description."""
    return target not in (HERE, ESTIMATE, *TOPOLOGIES) and gpus.is_gpu(target)


def label(target: str) -> str:
    """Return the name of a target for people."""
    return gpus.label(target) if is_gpu(target) else target


def memory_limit(target: str, wanted: int | None) -> int | None:
    """Return how many bytes of a device a program that is not run may take; None if unknown.

    Args:
        target: compiled for and not run. Of a TPU only its compiler knows the memory.
        wanted: what the user allows; it cannot be more than the device has.
    """
    if not is_gpu(target):
        return wanted
    has = gpus.program_bytes(target)
    return has if wanted is None else min(wanted, has)


def devices(target: str, count: int) -> list[Any]:
    """Return the first `count` devices of a target; those of a TPU or GPU are only descriptions.

    Raises:
        UsageError: the target has fewer.
    """
    import jax
    from jax.experimental import topologies

    if is_gpu(target):
        return gpus.devices(target, count)
    if target in TOPOLOGIES:
        name = TOPOLOGIES[target]
        known = list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
    else:
        known = jax.local_devices()
    if count > len(known):
        raise UsageError(f"--devices {count}: {target} has {len(known)}")
    return known[:count]
