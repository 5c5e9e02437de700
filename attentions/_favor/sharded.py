"""Spread the tokens of a sequence over several devices, for kernel attention.

Each device sums over its own tokens, and one all-reduce adds up the sums. Queries need only
(K')^T V and (K')^T 1 of the keys, whose size does not depend on the length, so no token is sent
to another device. If features have exponents, another all-reduce first finds the largest exponent
of each feature.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array

from lra_bench.attentions._favor.chunks import Plan, rescaled
from lra_bench.runtime.mesh import DATA, SEQUENCE


def over_tokens(attend: Callable[..., Array], *, own: bool) -> Callable[..., Array]:
    """Return `attend`, a function of (q, k, v, mask, drawn), run by each device on its tokens.

    If `own`, each device also gets only the projections of its own examples.
    """
    tokens = PartitionSpec(DATA, SEQUENCE)
    drawn = PartitionSpec(DATA) if own else PartitionSpec()
    specs = (tokens, tokens, tokens, tokens, drawn)
    # Loops start with zeros, equal on all devices, and end with sums that differ between devices.
    return jax.shard_map(attend, in_specs=specs, out_specs=tokens, check_vma=False)


def of_all(
    plan: Plan, shift: Array | None, weighted: Array, totals: Array
) -> tuple[Array | None, Array, Array]:
    """Turn the shift and sums over a device's own keys into those over all keys."""
    if plan.axis is None:
        return shift, weighted, totals
    highest = None if shift is None else lax.pmax(shift, plan.axis)
    weighted, totals = rescaled(weighted, totals, shift, highest)
    return highest, *added(plan, weighted, totals)


def added(plan: Plan, weighted: Array, totals: Array) -> tuple[Array, Array]:
    """Add up (b, h, d, m) and (b, h, m) over all devices, in one all-reduce."""
    if plan.axis is None:
        return weighted, totals
    both = lax.psum(jnp.concatenate([weighted, totals[:, :, None]], axis=2), plan.axis)
    return both[:, :, :-1], both[:, :, -1]
