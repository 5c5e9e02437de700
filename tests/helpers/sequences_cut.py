"""Attention over tokens cut along four devices, beside the same on one; prints what differs.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python sequences_cut.py NAME...
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention
from lra_bench.runtime.devices import sharing
from lra_bench.runtime.mesh import on_mesh

B, L, H, D = 2, 530, 3, 16  # no multiple of four, and the second example ends on the first device


def compared(name):
    """The largest relative difference of output and gradients, and all-reduces of the output."""
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (2 * jax.random.normal(key, (B, L, H, D)) for key in keys)
    mask = jnp.arange(L)[None] < jnp.array([[L], [100]])
    attend = build_attention(name, Dims(H, D, L), {}, nnx.Rngs(0))

    def out(q, k, v):
        return attend(q, k, v, mask) * mask[:, :, None, None]

    def gradients(q, k, v):
        return jax.grad(lambda *x: jnp.sum(jnp.sin(out(*x))), argnums=(0, 1, 2))(q, k, v)

    devices = sharing(jax.devices(), sequence=4)
    found, reduces = [], None
    for function in (out, gradients):
        one = jax.jit(function)(q, k, v)
        cut = jax.jit(on_mesh(devices.by_example.mesh, function))
        sharded = jax.device_put((q, k, v), NamedSharding(devices.by_example.mesh, PartitionSpec()))
        compiled = cut.lower(*sharded).compile()
        reduces = reduces or compiled.as_text().count(" all-reduce(")
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(compiled(*sharded)), strict=True)
        found += [np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(a).max() for a, b in pairs]
    return {"difference": float(max(found)), "all_reduces": reduces}


if __name__ == "__main__":
    print(json.dumps({name: compared(name) for name in sys.argv[1:]}))
