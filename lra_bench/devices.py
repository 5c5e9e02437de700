"""Which devices a run uses, and how its arrays lie on them."""

import os
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from lra_bench.errors import UsageError
from lra_bench.faults import one_line
from lra_bench.settings import TrainSettings


@dataclass(frozen=True)
class Devices:
    """The devices of a run, one axis named "data", and how arrays lie on them."""

    all: list[Any]
    replicated: NamedSharding
    by_example: NamedSharding


def choose_devices(settings: TrainSettings) -> Devices:
    """The first `num_devices` of the local devices, or all.

    Raises:
        UsageError: there aren't so many, or their number doesn't divide a batch.
    """
    # Where host and device are the same cores, overlapping them gains nothing.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    local = _local_devices()
    count = settings.num_devices or len(local)
    if count > len(local):
        raise UsageError(f"train.num_devices={count}: there are {len(local)} here")
    sizes = {
        "train.batch_size / train.accumulate": settings.batch_size // settings.accumulate,
        "train.eval_batch_size": settings.eval_batch_size,
    }
    for name, size in sizes.items():
        if size % count:
            raise UsageError(
                f"{count} devices don't divide {name} = {size}; "
                "set train.num_devices or the batch size"
            )
    axis = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((count,), ("data",), axis_types=(axis,), devices=local[:count])
    specs = (PartitionSpec(), PartitionSpec("data"))
    return Devices(local[:count], *(NamedSharding(mesh, spec) for spec in specs))


def _local_devices() -> list[Any]:
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        platforms = os.environ.get("JAX_PLATFORMS", "")
        where = f" (JAX_PLATFORMS={platforms})" if platforms else ""
        raise UsageError(f"jax finds no device{where}: {one_line(error)}") from None
