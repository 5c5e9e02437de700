"""Starting a run's processes: who they are, by flags, Slurm or a TPU slice, and how they end."""

import atexit
import contextlib
import importlib.util
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lra_bench.errors import RunError, UsageError
from lra_bench.faults import one_line
from lra_bench.runtime.processes import Group

LOST = "another process of this run has ended"
# How long processes wait for each other to start.
_START_SECONDS = 300
_PORTS = 61_440, 4_096  # as JAX chooses them on Slurm: the first, and how many
_METADATA = "http://{}/computeMetadata/v1/instance/attributes/worker-network-endpoints"
_SOME_CHIPS = ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Place:
    """A process among those of its run.

    Attributes:
        coordinator: HOST:PORT where process 0 listens.
        processes, index: how many there are, and which this is.
        device: the only one of the host's GPUs that is this process's; None for all.
    """

    coordinator: str
    processes: int
    index: int
    device: int | None = None


def by_flags(coordinator: str | None, processes: int | None, index: int | None) -> Place | None:
    """What --coordinator, --processes and --process-id say; None for a lone process.

    Raises:
        UsageError: they don't go together.
    """
    if processes == 1 and index in (None, 0):
        return None
    if coordinator is None or processes is None or index is None:
        raise UsageError(
            "--coordinator, --processes and --process-id go together; "
            "--processes 1 alone keeps to this process"
        )
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise UsageError(f"--coordinator {coordinator}: must be HOST:PORT, where process 0 runs")
    if index >= processes:
        raise UsageError(f"--process-id {index}: must be from 0 to {processes - 1}")
    return Place(coordinator, processes, index)


def by_slurm(env: Mapping[str, str]) -> Place | None:
    """A task of a Slurm job step that has several; None elsewhere.

    The tasks of a node that all see its GPUs take one each.
    """
    tasks = int(env.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks == 1:
        return None
    first, count = _PORTS
    port = first + (int(env["SLURM_JOB_ID"]) + int(env.get("SLURM_STEP_ID", 0))) % count
    shared = tasks > int(env["SLURM_STEP_NUM_NODES"])
    alone_with_one = env.get("CUDA_VISIBLE_DEVICES", ",").count(",") == 0
    return Place(
        coordinator=f"{_first_host(env['SLURM_STEP_NODELIST'])}:{port}",
        processes=tasks,
        index=int(env["SLURM_PROCID"]),
        device=int(env["SLURM_LOCALID"]) if shared and not alone_with_one else None,
    )


def _first_host(nodes: str) -> str:
    """Of a list such as "node1,node2", "tpu[007-015,020]" or "a[1,3],b"."""
    prefix, bracket, rest = nodes.partition("[")
    if not bracket or "," in prefix:
        return nodes.partition(",")[0]
    return prefix + rest.replace("]", ",").replace("-", ",").partition(",")[0]


def on_tpu_slice(env: Mapping[str, str]) -> bool:
    """Whether this host is one of several of a TPU slice, and all its chips are this run's."""
    if any(name in env for name in _SOME_CHIPS):
        return False
    hosts = env.get("TPU_PROCESS_ADDRESSES") or env.get("TPU_WORKER_HOSTNAMES")
    if hosts is None and _on_tpu_machine():
        hosts = _asked_of_google(env)
    return "," in (hosts or "") or int(env.get("MEGASCALE_NUM_SLICES", 1)) > 1


def _on_tpu_machine() -> bool:
    """Whether there are chips, which JAX looks for when it is imported."""
    if importlib.util.find_spec("libtpu") is None:
        return False
    import jax  # noqa: F401 - sets the variable where there are none

    return "TPU_SKIP_MDS_QUERY" not in os.environ


def _asked_of_google(env: Mapping[str, str]) -> str | None:
    """The hosts of the slice, by the metadata server of Google's machines."""
    url = _METADATA.format(env.get("GCE_METADATA_IP", "169.254.169.254"))
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=3) as answer:
            return answer.read().decode()
    except OSError:
        return None


@contextlib.contextmanager
def joined(
    coordinator: str | None = None, processes: int | None = None, index: int | None = None
) -> Iterator[Group]:
    """The processes of this run while the block runs; before JAX has touched any device.

    A process that fails alone ends without the farewell, which would wait for others that may be
    waiting for it: its end is what ends them.

    Raises:
        UsageError: the flags are wrong, or JAX finds no device.
        RunError: process 0 isn't there, or another process is lost.
    """
    group = _start(coordinator, processes, index)
    try:
        yield group
    except Exception as error:
        if group.knows(error):
            _part(group)
        elif is_lost(error):
            raise RunError(LOST) from None
        raise
    _part(group)


def _part(group: Group) -> None:
    """The farewell: every process waits for all others."""
    if group.size > 1:
        import jax

        jax.distributed.shutdown()
        atexit.unregister(_leave)


def is_lost(error: BaseException) -> bool:
    """Whether it says that another process can't be reached any more."""
    return "Gloo" in str(error) or "coordination service" in str(error)


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _start(coordinator: str | None, processes: int | None, index: int | None) -> Group:
    if (coordinator, processes, index) != (None, None, None):
        place = by_flags(coordinator, processes, index)
    else:
        place = by_slurm(os.environ)
        if place is None and on_tpu_slice(os.environ):
            return _initialise()
    return Group() if place is None else _join(place)


def _join(place: Place) -> Group:
    if place.index == 0:
        others = place.processes - 1
        print(f"waiting for {others} more at {place.coordinator}", flush=True)
    else:
        _wait_for(place.coordinator)
    return _initialise(
        coordinator_address=place.coordinator,
        num_processes=place.processes,
        process_id=place.index,
        local_device_ids=None if place.device is None else [place.device],
        cluster_detection_method="deactivate",
        initialization_timeout=_START_SECONDS,
    )


def _wait_for(coordinator: str) -> None:
    """Until somebody listens there: JAX would abort the process if nobody ever did."""
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise RunError(f"process 0 is not at {coordinator}: {error}") from None
            time.sleep(0.1)
        else:
            return


def _initialise(**options: Any) -> Group:
    """Have JAX bring the processes together; without options it finds out by itself, on TPUs."""
    import jax

    from lra_bench.runtime.devices import local_devices

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # else SIGTERM would be its own
    try:
        jax.distributed.initialize(**options)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the processes of the run can't be started: {one_line(error)}") from None
    atexit.register(_leave)
    local_devices()
    with _silent_output():  # of Gloo, which tells of every group of devices that it connects
        _connect()
    return Group(jax.process_count(), jax.process_index())


def _connect() -> None:
    """Have the processes, and all of their devices, exchange something for the first time."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    from lra_bench.runtime.devices import place, sharing

    multihost_utils.sync_global_devices("start")
    devices = sharing(jax.devices())
    ones = place(np.ones(len(devices.all)), devices.by_example)
    jax.jit(jax.numpy.sum, out_shardings=devices.replicated)(ones).block_until_ready()


@contextlib.contextmanager
def _silent_output() -> Iterator[None]:
    """Nothing gets to standard output, not even from outside Python."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
