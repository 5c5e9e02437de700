"""The share of a GPU's memory that JAX takes: 75 % unless a variable says otherwise."""

import os
import subprocess

from lra_bench.errors import UsageError

_DEFAULT = 0.75
# JAX knows both names, and does not start if both are set.
_VARIABLES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")


def get() -> float:
    """Return the share, above 0 and at most 1.

    Raises:
        UsageError: the environment sets it to no share.
    """
    if not is_set():
        return _DEFAULT
    name, value = variable(), os.environ[variable()]
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"{name}={value}: must be above 0 and at most 1")
    return share


def variable() -> str:
    """Return the name of the variable to set: the one that is set, if any."""
    return next((name for name in _VARIABLES if os.environ.get(name)), _VARIABLES[0])


def is_set() -> bool:
    """Return whether the environment says how large the share is."""
    return bool(os.environ.get(variable()))


def limit(allowed: int) -> None:
    """Let JAX take at most so many bytes of a GPU. Call it before JAX touches a device.

    Raises:
        UsageError: the environment sets it to no share.
    """
    most = get() if is_set() else 1.0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        total = int(answer.stdout.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return
    os.environ[variable()] = f"{min(allowed / total, most):.6f}"
