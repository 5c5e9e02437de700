"""The environment of a run: versions, devices and host."""

import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lra_bench import __version__
from lra_bench.runtime import cores, huge_pages, memory

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# The keys that old records lack: they are left out where they are not known.
_ADDED_LATER = ("usable_cores", "memory_method", "xla_flags", "libtpu_init_args", "huge_pages")


@dataclass(frozen=True)
class Environment:
    """The environment of a run; a part that an old record lacks is None.

    Attributes:
        versions: of Python, of this project and of the packages that results depend on.
        device_kind: name of a device, by JAX.
        platform: "cpu", "gpu" or "tpu".
        device_count: devices of all hosts together.
        processes: processes of the run.
        dtype: the type in which the model computes.
        git_commit: commit of this code, with "-dirty" after changes; None outside a checkout.
        host: name of the machine.
        host_cpu: model name of its processor.
        host_cpu_count: its logical cores.
        usable_cores: those of them that the process may use; a sweep divides them among its runs.
            None in old records.
        xla_flags: the variable XLA_FLAGS; "" if it is not set.
        memory_method: how the peak memory of the process is read: "VmHWM" or "ru_maxrss", which may
            be that of the process that started it. Old records lack it; theirs is "ru_maxrss".
        libtpu_init_args: the variable LIBTPU_INIT_ARGS; None if it is not set.
        huge_pages: who asks for pages of 2 MiB: "malloc"; "always" if the system gives them without
            being asked; "none". None if the system is not Linux, and in old records.
    """

    versions: dict[str, str] = field(default_factory=dict)
    device_kind: str | None = None
    platform: str | None = None
    device_count: int | None = None
    processes: int | None = None
    dtype: str | None = None
    git_commit: str | None = None
    host: str | None = None
    host_cpu: str | None = None
    host_cpu_count: int | None = None
    usable_cores: int | None = None
    memory_method: str | None = None
    xla_flags: str | None = None
    libtpu_init_args: str | None = None
    huge_pages: str | None = None

    @property
    def processor(self) -> str:
        """Return the name of what computes: the host's processor on CPUs, else a device."""
        kind = self.device_kind or "unknown"
        return self.host_cpu or kind if kind == "cpu" else kind

    @property
    def devices(self) -> str:
        """Return how many devices of which kind, such as "4 x TPU v5"."""
        count = "?" if self.device_count is None else self.device_count
        return f"{count} x {self.processor}"

    @property
    def device(self) -> str:
        """Return the devices in words; speeds of others do not compare.

        On CPUs the words include the cores that the process may use, if the record has them.
        """
        if self.platform != "cpu" or self.usable_cores is None:
            return self.devices
        return f"{self.devices}, {self.usable_cores} core{'s' * (self.usable_cores > 1)}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = asdict(self)
        return {k: v for k, v in values.items() if v is not None or k not in _ADDED_LATER}


def environment(devices: list[Any], dtype: str) -> Environment:
    """Return the environment of a run on these devices."""
    return Environment(
        versions=versions(),
        device_kind=devices[0].device_kind,
        platform=devices[0].platform,
        device_count=len(devices),
        processes=1 + max(device.process_index for device in devices),
        dtype=dtype,
        git_commit=git_commit(),
        host=platform.node(),
        host_cpu=_cpu_name(),
        host_cpu_count=os.cpu_count(),
        usable_cores=len(cores.usable()),
        memory_method=memory.peak_method(),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        libtpu_init_args=os.environ.get("LIBTPU_INIT_ARGS"),
        huge_pages=huge_pages.kind(os.environ),
    )


def versions() -> dict[str, str]:
    """Return the versions of Python, of this project and of the packages that results depend on."""
    ours = {"python": platform.python_version(), "lra-bench": __version__}
    return {**ours, **{package: version(package) for package in _PACKAGES}}


def git_commit() -> str | None:
    """Return the commit of this code, with "-dirty" after changes; None outside a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--exclude=*"]
    try:
        ours = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__],
            capture_output=True,
            timeout=10,
        )
        if ours.returncode:
            return None
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
