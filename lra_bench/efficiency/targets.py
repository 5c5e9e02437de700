"""Accelerators that this machine may lack: JAX compiles for them ahead of time."""

import importlib.util
from typing import Any

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
NAMES = (HERE, ESTIMATE, *TOPOLOGIES)


def check(target: str) -> None:
    """Check that cells can be measured on, or compiled for, a target.

    Raises:
        UsageError: no target has that name, or its compiler is not installed.
    """
    if target not in NAMES:
        raise unknown("--target", target, list(NAMES))
    if target in TOPOLOGIES and importlib.util.find_spec("libtpu") is None:
        raise UsageError(f"--target {target} needs the compiler: pip install 'lra-bench[tpu]'")


def devices(target: str, count: int) -> list[Any]:
    """Return the first `count` devices of a target; those of a TPU are only descriptions.

    Raises:
        UsageError: the target has fewer.
    """
    import jax
    from jax.experimental import topologies

    if target in TOPOLOGIES:
        name = TOPOLOGIES[target]
        known = list(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
    else:
        known = jax.local_devices()
    if count > len(known):
        raise UsageError(f"--devices {count}: {target} has {len(known)}")
    return known[:count]
