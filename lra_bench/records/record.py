"""The record of a run: what it holds, how it is written and read."""

import math
import os
import platform
import resource
import stat
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lra_bench import __version__
from lra_bench.errors import RunError
from lra_bench.faults import one_line
from lra_bench.files import read_json, write_json
from lra_bench.records import answers
from lra_bench.settings import RunSettings

SCHEMA = 1
STATUSES = ("ok", "diverged", "out_of_memory", "failed")
FILE = "record.json"


def blank(settings: RunSettings) -> dict[str, Any]:
    """A record with every key, in order, and nothing measured yet.

    Accuracies and `chance` lie in [0, 1]; `tokens_per_second` counts padding;
    `peak_memory_bytes` is the process's on CPU, a device's elsewhere.
    """
    return {
        "schema": SCHEMA,
        "status": "failed",
        "error": None,
        "task": settings.task,
        "attention": settings.attention,
        "preset": settings.preset,
        "seed": settings.seed,
        "config": settings.as_dict(),
        "init_from": _origin(settings),
        "parameters": None,
        "parameters_vs_softmax": None,
        "chance": None,
        "best_step": None,
        "validation": None,
        "test": None,
        "steps": 0,
        "steps_per_second": None,
        "tokens_per_second": None,
        "flops_per_step": None,
        "peak_memory_bytes": None,
        "compile_seconds": None,
        "data": None,
        "environment": None,
    }


def _origin(settings: RunSettings) -> dict[str, Any] | None:
    """Whose parameters the run starts with, and how they do before any step."""
    origin = settings.init_from
    return None if origin is None else {**asdict(origin), "validation": None, "test": None}


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write `record.json`: the last file of a run."""
    write_json(folder / FILE, record)


def read(path: Path) -> dict[str, Any]:
    """Read a record file.

    Raises:
        RunError: it is no record of this schema; the message says why.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise OSError("a pipe")
        record = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: unreadable: {one_line(error)}") from None
    if not isinstance(record, dict) or "schema" not in record:
        raise RunError(f"{path}: not a run record")
    if record["schema"] != SCHEMA:
        raise RunError(f"{path}: schema {record['schema']!r}, this version reads {SCHEMA}")
    record.setdefault("init_from", None)  # older records lack it
    missing = [key for key in _VALID if key not in record]
    if missing:
        raise RunError(f"{path}: incomplete: {', '.join(missing)}")
    wrong = [key for key, valid in _VALID.items() if not valid(record[key])]
    if record["status"] == "ok":
        wrong += [key for key in ("test", "validation", "best_step") if record[key] is None]
    if wrong:
        raise RunError(f"{path}: not as it should be: {', '.join(wrong)}")
    return record


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive_or_none(value: Any) -> bool:
    return value is None or (_is_number(value) and value > 0)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_group_or_none(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_config(value: Any) -> bool:
    groups = ("data", "model", "train", "attention_options")
    return isinstance(value, dict) and all(isinstance(value.get(g), dict) for g in groups)


def _is_evaluation_or_none(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    examples = value.get("examples")
    if not (_is_share(value.get("accuracy")) and isinstance(examples, int) and examples > 0):
        return False
    return "correct" not in value or _agrees(value["correct"], value["accuracy"], examples)


def _agrees(correct: Any, accuracy: float, examples: int) -> bool:
    """Whether the bits are of so many examples and make that accuracy."""
    try:
        return _is_text(correct) and answers.unpack(correct, examples).mean() == accuracy
    except RunError:
        return False


def _is_origin_or_none(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return _is_text(value.get("attention")) and _is_text(value.get("task"))


# What a reader relies on; the other keys are for people.
_VALID: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: value in STATUSES,
    "error": lambda value: value is None or _is_text(value),
    "task": _is_text,
    "attention": _is_text,
    "preset": _is_text,
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "config": _is_config,
    "init_from": _is_origin_or_none,
    "chance": _is_share,
    "best_step": lambda value: value is None or isinstance(value, int),
    "steps": lambda value: isinstance(value, int) and value >= 0,
    "validation": _is_evaluation_or_none,
    "test": _is_evaluation_or_none,
    "parameters": _is_positive_or_none,
    "parameters_vs_softmax": _is_positive_or_none,
    "steps_per_second": _is_positive_or_none,
    "data": _is_group_or_none,
    "environment": _is_group_or_none,
}


def environment(devices: list[Any], dtype: str) -> dict[str, Any]:
    """Where a run took place."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "versions": {
            "python": platform.python_version(),
            "lra-bench": __version__,
            **{package: version(package) for package in packages},
        },
        "device_kind": devices[0].device_kind,
        "platform": devices[0].platform,
        "device_count": len(devices),
        "processes": 1 + max(device.process_index for device in devices),
        "dtype": dtype,
        "git_commit": git_commit(),
        "host": platform.node(),
        "host_cpu": _cpu_name(),
        "host_cpu_count": os.cpu_count(),
    }


def git_commit() -> str | None:
    """The commit that this code is at, "-dirty" if it was changed; None outside a checkout."""
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


def peak_memory(device: Any) -> int:
    """Bytes: the device's peak where it keeps count, else this process's largest resident set."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
