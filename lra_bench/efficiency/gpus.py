"""Descriptions of GPUs that this machine may lack, from which XLA compiles for them.

A description is a file of protobuf text, a `stream_executor.GpuTargetConfigProto` of XLA: one of
this package's, in `gpu_specs`, or a user's own.
"""

import hashlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Any

from lra_bench.errors import UsageError
from lra_bench.runtime import gpu_share

SPECS = Path(__file__).parent / "gpu_specs"
NAMES = ("v100-16gb", "t4", "a100-40gb", "a100-80gb", "l4", "h100", "h200", "b200")
# Without a device nothing is tuned. Then Triton's products have one size of tiles, which XLA cannot
# always cut ("Couldn't find output tile sizes"), so products are those of cuBLAS.
XLA_FLAGS = "--xla_gpu_enable_triton_gemm=false"
EXTRA = "pip install 'lra-bench[cuda12]'"
IN_A_HOST = 8
_SUFFIXES = (".txt", ".txtpb", ".pbtxt", ".textproto")
_PLUGINS = ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13")
# What XLA divides by, or what decides the program: it does not say if one is missing.
_NEEDED = (
    "device_memory_size",
    "core_count",
    "threads_per_warp",
    "threads_per_block_limit",
    "threads_per_core_limit",
    "block_dim_limit_x",
    "shared_memory_per_block_optin",
    "memory_bandwidth",
    "cuda_compute_capability",
    "device_description_str",
)


def is_gpu(target: str) -> bool:
    """Return whether a target is a GPU of this package or looks like the path of a description."""
    path = Path(target)
    is_path = len(path.parts) > 1 or path.suffix in _SUFFIXES or path.is_file()
    return target in NAMES or is_path


def label(target: str) -> str:
    """Return a name for people; a user's own file has a checksum, since it may change."""
    if target in NAMES:
        return target
    return f"{Path(target).name} ({hashlib.sha256(description(target).encode()).hexdigest()[:8]})"


def check(target: str) -> None:
    """Check that a GPU's description can be read and that the compiler is there.

    Raises:
        UsageError: it is not.
    """
    description(target)
    if not any(map(_is_installed, _PLUGINS)):
        raise UsageError(f"--target {target} needs the compiler: {EXTRA}")
    _check_versions(target)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # there is no jax_plugins at all
        return False


def _check_versions(target: str) -> None:
    """Check that the compiler is of the same version as the rest of JAX, which it must be.

    Raises:
        UsageError: it is not.
    """
    jaxlib = importlib.metadata.version("jaxlib")
    found = {}
    for package in ("jax-cuda12-pjrt", "jax-cuda13-pjrt"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if found and jaxlib not in found.values():
        package, version = next(iter(found.items()))
        raise UsageError(
            f"--target {target}: {package} {version} does not fit jaxlib {jaxlib}: {EXTRA}"
        )


def description(target: str) -> str:
    """Return the text of a GPU's description.

    Raises:
        UsageError: the file cannot be read.
    """
    path = SPECS / f"{target}.txt" if target in NAMES else Path(target)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UsageError(f"--target {target}: {reason}") from error


def _without_comments(text: str) -> str:
    return re.sub(r"#.*", "", text)


def program_bytes(target: str) -> int:
    """Return how many bytes of a GPU's memory its programs get: the share that JAX takes.

    Raises:
        UsageError: the description has no whole number of bytes.
    """
    text = _without_comments(description(target))
    found = re.search(r"\bdevice_memory_size\s*:\s*(\d+)", text)
    if not found or not int(found[1]):
        raise UsageError(f"--target {target}: device_memory_size is no number of bytes")
    return int(int(found[1]) * gpu_share.get())


def devices(target: str, count: int) -> list[Any]:
    """Return descriptions of `count` GPUs of one host.

    Raises:
        UsageError: there are no hosts with so many, or the description is incomplete.
    """
    from jax.experimental import topologies

    if count > IN_A_HOST:
        raise UsageError(f"--devices {count}: a host of {target} has {IN_A_HOST}")
    text, shape = description(target), f"1x1x{count}"
    known = topologies.get_topology_desc(platform="cuda", target_config=text, topology=shape)
    text = _without_comments(text)
    if missing := [name for name in _NEEDED if not re.search(rf"\b{name}\b", text)]:
        raise UsageError(f"--target {target}: the description lacks {', '.join(missing)}")
    return list(known.devices)


def reason(errors: str) -> str | None:
    """Return line and reason from what XLA wrote about a description that it cannot parse."""
    found = re.search(r"Error parsing text-format \S+: (\d+):(\d+): (.*)", errors)
    return f"line {found[1]}, column {found[2]}: {found[3].rstrip('.')}" if found else None
