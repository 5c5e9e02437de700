"""Tokens of a sequence on several devices: each sums over its own, one all-reduce adds the sums up.

Keys meet queries in (K')^T V and (K')^T 1 alone, whose size is that of the features: tokens stay
where they are. Where features have exponents, the largest of each feature goes round before.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array

from lra_bench.attentions._favor.chunks import Plan, rescaled
from lra_bench.runtime.mesh import DATA, SEQUENCE


def over_tokens(attend: Callable[..., Array]) -> Callable[..., Array]:
    """A function of (q, k, v, mask, drawn) done by each device on its own tokens."""
    tokens = PartitionSpec(DATA, SEQUENCE)
    specs = (tokens, tokens, tokens, tokens, PartitionSpec())
    # Loops begin with zeros that are alike on all devices and end with sums that aren't.
    return jax.shard_map(attend, in_specs=specs, out_specs=tokens, check_vma=False)


def of_all(
    plan: Plan, shift: Array | None, weighted: Array, totals: Array
) -> tuple[Array | None, Array, Array]:
    """Shift and sums over a device's own keys as those over all keys."""
    if plan.axis is None:
        return shift, weighted, totals
    highest = None if shift is None else lax.pmax(shift, plan.axis)
    weighted, totals = rescaled(weighted, totals, shift, highest)
    return highest, *added(plan, weighted, totals)


def added(plan: Plan, weighted: Array, totals: Array) -> tuple[Array, Array]:
    """Sums (b, h, d, m) and (b, h, m) over all devices, in one all-reduce."""
    if plan.axis is None:
        return weighted, totals
    both = lax.psum(jnp.concatenate([weighted, totals[:, :, None]], axis=2), plan.axis)
    return both[:, :, :-1], both[:, :, -1]
