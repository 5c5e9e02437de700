"""The axes that devices form, and how a program finds out about them while it is traced."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Float

# Examples of a batch, and tokens of a sequence, are cut along them.
DATA, SEQUENCE = "data", "sequence"


def on_mesh(mesh: Mesh | AbstractMesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, traced so that it knows the mesh."""
    if SEQUENCE not in mesh.shape:
        return function

    def call(*args: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args)

    return call


def sequence_shards() -> int:
    """Over how many devices the mesh of the program that is traced cuts sequences."""
    return jax.sharding.get_abstract_mesh().shape.get(SEQUENCE, 1)


def by_token(x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
    """Cut along the tokens, where devices share sequences; the last may have fewer than others.

    The shape stays what it is on one device, and so does what is drawn for it, such as dropout.
    """
    shards, length = sequence_shards(), x.shape[1]
    if shards == 1:
        return x
    x = jax.numpy.pad(x, ((0, 0), (0, -length % shards), (0, 0)))
    return jax.lax.with_sharding_constraint(x, PartitionSpec(DATA, SEQUENCE))[:, :length]
