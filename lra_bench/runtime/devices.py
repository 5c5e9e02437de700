"""The devices that a run uses, and how its arrays lie on them."""

import functools
import os
import socket
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from lra_bench.errors import UsageError, one_line
from lra_bench.runtime.mesh import DATA, SEQUENCE
from lra_bench.settings import TrainSettings


@dataclass(frozen=True)
class Devices:
    """Devices of all hosts, and how arrays lie on them; `runtime.mesh` names their axes.

    Attributes:
        all: the devices.
        replicated: the sharding of arrays that are whole on every device.
        by_example: the sharding of batches, whose examples are divided among the devices.
    """

    all: list[Any]
    replicated: NamedSharding
    by_example: NamedSharding

    @property
    def shares(self) -> int:
        """Return among how many devices, or groups of them, the examples of a batch are divided."""
        return self.replicated.mesh.shape[DATA]

    def replicate(self, tree: Any) -> Any:
        """Put host arrays, which are the same in every process, whole on every device."""
        return jax.tree.map(lambda x: place(x, self.replicated), tree)

    def replicated_shapes(self, tree: Any) -> Any:
        """Return shape, dtype and sharding of arrays that will be whole on every device."""
        struct = functools.partial(jax.ShapeDtypeStruct, sharding=self.replicated)
        return jax.tree.map(lambda x: struct(x.shape, x.dtype), tree)

    def share_out(self, examples: np.ndarray, indices: np.ndarray) -> Array:
        """Divide these examples among all devices; only the part of this host's devices is read."""

        def read(at: Any) -> np.ndarray:
            return examples[indices[at[0]]]

        shape = (len(indices), *examples.shape[1:])
        return jax.make_array_from_callback(shape, self.by_example, read)


def place(x: Any, sharding: NamedSharding) -> Array:
    """Put a host array on devices; each process puts the parts of its own devices."""
    host: Any = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda at: host[at])


def sharing(devices: list[Any], sequence: int = 1) -> Devices:
    """Return these devices with shardings for batches that they share.

    Args:
        devices: of all hosts.
        sequence: how many of them share each example.
    """
    shape = {DATA: len(devices) // sequence} | ({SEQUENCE: sequence} if sequence > 1 else {})
    axes = (jax.sharding.AxisType.Auto,) * len(shape)
    mesh = jax.make_mesh(tuple(shape.values()), tuple(shape), axis_types=axes, devices=devices)
    specs = (PartitionSpec(), PartitionSpec(DATA))
    return Devices(devices, *(NamedSharding(mesh, spec) for spec in specs))


def choose_devices(settings: TrainSettings) -> Devices:
    """Return the first `num_devices` local devices, or all; all devices of several processes.

    If `num_devices` is not set and all devices of a lone process do not divide a training batch,
    fewer that do are chosen; see `left_out`.

    Raises:
        UsageError: there are fewer devices, or their number does not divide a training batch.
    """
    # On CPUs host and device are the same cores: overlapping them gains nothing.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    local, wanted = local_devices(), settings.num_devices
    alone = jax.process_count() == 1
    if wanted and not alone:
        raise UsageError(
            f"train.num_devices={wanted}: with several processes all of their devices are used"
        )
    if wanted > len(local):
        raise UsageError(f"train.num_devices={wanted}: there are {len(local)} here")
    count = wanted or jax.device_count()
    if count % settings.sequence_devices:
        raise UsageError(
            f"train.sequence_devices={settings.sequence_devices} does not divide {count} devices"
        )
    if problem := _indivisible(settings, count):
        if wanted or not alone:
            raise UsageError(problem)
        count = _fewer(settings, count)
    return sharing(jax.devices()[:count], settings.sequence_devices)


def left_out(settings: TrainSettings, devices: Devices) -> str | None:
    """Return why a run leaves devices unused, and what to set to use all; None if it does not."""
    count = jax.device_count()
    if settings.num_devices or len(devices.all) == count:
        return None
    return f"using {len(devices.all)} of {count} devices: {_indivisible(settings, count)}"


def _indivisible(settings: TrainSettings, count: int) -> str | None:
    """Return why so many devices cannot share a training batch, and what to set; None if so."""
    batch, parts, sequence = settings.batch_size, settings.accumulate, settings.sequence_devices
    unit = count // sequence * parts
    if batch % unit == 0:
        return None
    accumulated = f" / train.accumulate={parts}" if parts > 1 else ""
    fewer = f", --set train.num_devices={_fewer(settings, count)} fewer"
    return (
        f"{count // sequence} devices don't divide train.batch_size={batch}{accumulated}; "
        f"--set train.batch_size={-(-batch // unit) * unit} uses all"
        f"{fewer if jax.process_count() == 1 else ''}"
    )


def _fewer(settings: TrainSettings, count: int) -> int:
    """Return the largest number of devices below `count` that divides a training batch."""
    part, sequence = settings.batch_size // settings.accumulate, settings.sequence_devices
    return sequence * max(n for n in range(1, count // sequence) if part % n == 0)


def local_devices() -> list[Any]:
    """Return the devices of this host.

    Raises:
        UsageError: JAX finds none, or cannot connect those of several processes.
    """
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        if "gloo" in str(error) and (name := _nameless()):
            text = f"the name of this machine, {name}, has no address: add it to /etc/hosts"
            raise UsageError(text) from None
        platforms = os.environ.get("JAX_PLATFORMS", "")
        where = f" (JAX_PLATFORMS={platforms})" if platforms else ""
        raise UsageError(f"jax finds no device{where}: {one_line(error)}") from None


def _nameless() -> str | None:
    """Return the name of this machine if it has no address, as Gloo needs it to; else None."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return name
    return None
