"""The axes that devices form, and how a program learns of them while it is traced."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Float

# The axes along which the examples of a batch and the tokens of a sequence are divided.
DATA, SEQUENCE = "data", "sequence"


def on_mesh(mesh: Mesh | AbstractMesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, made to know the mesh and its kind of device while it is traced."""

    def call(*args: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*args)

    return call


def platform() -> str:
    """Return "cpu", "gpu" or "tpu": what the program that is being traced is compiled for.

    Without a mesh it is what JAX uses here. A program may be compiled for a device that is not
    here, so the mesh counts.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def sequence_shards() -> int:
    """Return how many devices share each sequence in the program that is being traced."""
    return jax.sharding.get_abstract_mesh().shape.get(SEQUENCE, 1)


def by_token(x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
    """Divide the tokens among the devices that share a sequence; the last may get fewer.

    The shape stays as on one device, and so do random draws of that shape, such as dropout.
    """
    shards, length = sequence_shards(), x.shape[1]
    if shards == 1:
        return x
    x = jax.numpy.pad(x, ((0, 0), (0, -length % shards), (0, 0)))
    return jax.lax.with_sharding_constraint(x, PartitionSpec(DATA, SEQUENCE))[:, :length]
