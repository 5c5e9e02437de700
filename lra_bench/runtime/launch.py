"""Start and end the processes of a run, as flags, Slurm or a TPU slice say."""

import atexit
import contextlib
import importlib.util
import ipaddress
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lra_bench.display.busy import say
from lra_bench.errors import RunError, UsageError, one_line
from lra_bench.runtime.processes import Processes

LOST = "another process of this run has ended"
# How many seconds processes wait for each other to start.
_START_SECONDS = 300
_PORTS = 61_440, 4_096  # as JAX chooses them on Slurm: the first, and how many
_SLURM_REMEDY = (
    "start the tasks with srun, or add --processes 1 to do the run in this process alone"
)
_METADATA = "http://{}/computeMetadata/v1/instance/attributes/worker-network-endpoints"
_SOME_CHIPS = ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Membership:
    """The place of a process among those of its run.

    Attributes:
        coordinator: HOST:PORT where process 0 listens.
        size: number of processes.
        index: number of this process, from 0 on.
        device: number of the one GPU of the host that this process uses; None for all devices.
    """

    coordinator: str
    size: int
    index: int
    device: int | None = None


def by_flags(
    coordinator: str | None, processes: int | None, index: int | None
) -> Membership | None:
    """Return what --coordinator, --processes and --process-id say; None for a lone process.

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
    return Membership(coordinator, processes, index)


def by_slurm(env: Mapping[str, str]) -> Membership | None:
    """Return the place in a Slurm job step of several tasks; None elsewhere.

    If several tasks of a node see all of its GPUs, each takes one.

    Raises:
        UsageError: some variables of the step are missing or wrong.
    """
    tasks = _slurm_number(env, "SLURM_STEP_NUM_TASKS", "1", lowest=1)
    if tasks == 1:
        return None
    first, count = _PORTS
    job, step = _slurm_number(env, "SLURM_JOB_ID"), _slurm_number(env, "SLURM_STEP_ID", "0")
    host, port = _first_host(_slurm_text(env, "SLURM_STEP_NODELIST")), first + (job + step) % count
    shared = tasks > _slurm_number(env, "SLURM_STEP_NUM_NODES", lowest=1)
    alone_with_one = env.get("CUDA_VISIBLE_DEVICES", ",").count(",") == 0
    index = _slurm_number(env, "SLURM_PROCID")
    if index >= tasks:
        raise UsageError(
            f"SLURM_PROCID={index} is not below SLURM_STEP_NUM_TASKS={tasks}; {_SLURM_REMEDY}"
        )
    return Membership(
        coordinator=f"{host}:{port}",
        size=tasks,
        index=index,
        device=_slurm_number(env, "SLURM_LOCALID") if shared and not alone_with_one else None,
    )


def _slurm_text(env: Mapping[str, str], name: str, default: str = "") -> str:
    """Return a variable of a Slurm job step.

    Raises:
        UsageError: it is not set, though the step has several tasks.
    """
    text = env.get(name, "").strip() or default
    if not text:
        tasks = env.get("SLURM_STEP_NUM_TASKS")
        raise UsageError(f"SLURM_STEP_NUM_TASKS={tasks}, but {name} is not set; {_SLURM_REMEDY}")
    return text


def _slurm_number(env: Mapping[str, str], name: str, default: str = "", *, lowest: int = 0) -> int:
    """Return a variable of a Slurm job step that holds a whole number; see `_slurm_text`."""
    text = _slurm_text(env, name, default)
    if not (text.isdecimal() and int(text) >= lowest):
        raise UsageError(f"{name}={text} is not a whole number from {lowest} on; {_SLURM_REMEDY}")
    return int(text)


def _first_host(nodes: str) -> str:
    """Return the first of a list such as "node1,node2", "tpu[007-015,020]" or "a[1,3],b"."""
    prefix, bracket, rest = nodes.partition("[")
    if not bracket or "," in prefix:
        return nodes.partition(",")[0]
    return prefix + rest.replace("]", ",").replace("-", ",").partition(",")[0]


def on_tpu_slice(env: Mapping[str, str]) -> bool:
    """Return whether this host is one of several of a TPU slice, with all chips for this run."""
    if any(name in env for name in _SOME_CHIPS):
        return False
    hosts = env.get("TPU_PROCESS_ADDRESSES") or env.get("TPU_WORKER_HOSTNAMES")
    if hosts is None and _on_tpu_machine():
        hosts = _hosts_by_google(env)
    slices = env.get("MEGASCALE_NUM_SLICES", "")
    return "," in (hosts or "") or (slices.isdecimal() and int(slices) > 1)


def _on_tpu_machine() -> bool:
    """Return whether this host has chips; JAX looks for them when it is imported."""
    if importlib.util.find_spec("libtpu") is None:
        return False
    import jax  # noqa: F401 - sets the variable where there are none

    return "TPU_SKIP_MDS_QUERY" not in os.environ


def _hosts_by_google(env: Mapping[str, str]) -> str | None:
    """Return the hosts of the slice, by the metadata server of Google's machines."""
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
) -> Iterator[Processes]:
    """Join the processes of this run while the block runs. Call it before JAX touches a device.

    A process that fails alone exits without the shutdown barrier, which the others may never
    reach; its exit ends them.

    Raises:
        UsageError: the flags are wrong, or JAX finds no device.
        RunError: process 0 isn't there, or another process is lost.
    """
    members = _start(coordinator, processes, index)
    try:
        yield members
    except Exception as error:
        if members.knows(error):
            _shut_down(members)
        elif is_lost(error):
            raise RunError(LOST) from None
        raise
    _shut_down(members)


def _shut_down(processes: Processes) -> None:
    """Wait for all other processes at JAX's shutdown barrier."""
    if processes.size > 1:
        import jax

        jax.distributed.shutdown()
        atexit.unregister(_exit)


def is_lost(error: BaseException) -> bool:
    """Return whether the error says that another process cannot be reached any more."""
    return "Gloo" in str(error) or "coordination service" in str(error)


def _exit() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _start(coordinator: str | None, processes: int | None, index: int | None) -> Processes:
    if (coordinator, processes, index) != (None, None, None):
        member = by_flags(coordinator, processes, index)
    else:
        member = by_slurm(os.environ)
        if member is None and on_tpu_slice(os.environ):
            return _initialise()
    return Processes() if member is None else _join(member)


def _join(member: Membership) -> Processes:
    if member.index == 0:
        others = member.size - 1
        say(f"waiting for {others} more at {member.coordinator}")
        sys.stdout.flush()
    else:
        _wait_for(member.coordinator)
    return _initialise(
        coordinator_address=member.coordinator,
        num_processes=member.size,
        process_id=member.index,
        coordinator_bind_address=_bind_address(member.coordinator),
        local_device_ids=None if member.device is None else [member.device],
        cluster_detection_method="deactivate",
        initialization_timeout=_START_SECONDS,
    )


def _bind_address(coordinator: str) -> str | None:
    """Return the one address at which process 0 listens; None for every address of the host.

    It is that of the coordinator if this is an address of this host or "localhost". Of a name, the
    other hosts may know another address than this host does. JAX lets in whoever reaches it.
    """
    if "JAX_COORDINATOR_BIND_ADDRESS" in os.environ:  # JAX reads it
        return None
    host, _, port = coordinator.rpartition(":")
    host = host.strip("[]")
    if host == "localhost":
        host = "127.0.0.1"
    with contextlib.suppress(ValueError, OSError):
        version = ipaddress.ip_address(host).version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with socket.socket(family) as probe:
            probe.bind((host, 0))
        return f"{host}:{port}" if version == 4 else f"[{host}]:{port}"
    return None


def _wait_for(coordinator: str) -> None:
    """Wait until process 0 listens there: JAX would abort this process if it never did."""
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


def _initialise(**options: Any) -> Processes:
    """Connect the processes through JAX; on TPUs it finds the options by itself."""
    import jax

    from lra_bench.runtime.devices import local_devices

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # else SIGTERM would be its own
    try:
        jax.distributed.initialize(**options)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the processes of the run can't be started: {one_line(error)}") from None
    atexit.register(_exit)
    local_devices()
    with _silent_output():  # Gloo prints a line for every group of devices that it connects
        _connect()
    return Processes(jax.process_count(), jax.process_index())


def _connect() -> None:
    """Make a first exchange between the processes and all of their devices."""
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
    """Print nothing on standard output within the block, not even from outside Python."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
