"""The axes that devices form, and how a program learns of them while it is traced."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Float

# The axes along which the examples of a batch and the tokens of a sequence are divided.
DATA, SEQUENCE = "data", "sequence"
# A device of the mesh of the program that is being traced: the abstract mesh has only its kind.
_DEVICE: ContextVar[Any] = ContextVar("device", default=None)


def on_mesh(mesh: Mesh | AbstractMesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, made to know the mesh and its kind of device while it is traced."""
    device = mesh.devices.flat[0] if isinstance(mesh, Mesh) else None

    def call(*args: Any) -> Any:
        before = _DEVICE.set(device)
        try:
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                return function(*args)
        finally:
            _DEVICE.reset(before)

    return call


def platform() -> str:
    """Return "cpu", "gpu" or "tpu": what the program that is being traced is compiled for.

    Without a mesh it is what JAX uses here. A program may be compiled for a device that is not
    here, so the mesh counts.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def compute_capability() -> tuple[int, int] | None:
    """Return NVIDIA's version of the GPU that the program that is being traced is compiled for.

    An H100 has (9, 0). None: it is no NVIDIA GPU, or the mesh does not say which.
    """
    device = _DEVICE.get()
    if device is None and jax.sharding.get_abstract_mesh().abstract_device is None:
        device = jax.local_devices()[0]
    found = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
    return (int(found[1]), int(found[2])) if found and platform() == "gpu" else None


def sequence_shards() -> int:
    """Return how many devices share each sequence in the program that is being traced."""
    return jax.sharding.get_abstract_mesh().shape.get(SEQUENCE, 1)


def one_device() -> bool:
    """Return whether the program that is being traced is for one device."""
    return jax.sharding.get_abstract_mesh().size <= 1


def by_token(x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
    """Divide the tokens among the devices that share a sequence; the last may get fewer.

    The shape stays as on one device, and so do random draws of that shape, such as dropout.
    """
    shards, length = sequence_shards(), x.shape[1]
    if shards == 1:
        return x
    x = jax.numpy.pad(x, ((0, 0), (0, -length % shards), (0, 0)))
    return jax.lax.with_sharding_constraint(x, PartitionSpec(DATA, SEQUENCE))[:, :length]
