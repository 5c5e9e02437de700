"""Record the flags of XLA that change results with a run, which goes on only under the same ones.

These flags, and those of the libraries below XLA, have no fixed meaning from version to version, so
they are left as they are.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from lra_bench.errors import RunError, UsageError
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.regular import read_text

FILE = "flags.json"
# The variables that hold flags, each with the platform that reads it; None for every platform.
_VARIABLES = {"XLA_FLAGS": None, "LIBTPU_INIT_ARGS": "tpu", "NVIDIA_TF32_OVERRIDE": "gpu"}
# Flags that change no result: the number of devices, and what is written, shown, or waited for.
_NEUTRAL = re.compile(
    r"--xla_(force_host_platform_device_count|tpu_use_enhanced_launch_barrier"
    r"|\w*(dump|timeout|cache_dir|data_dir|profil|log|print|alarm|parallel_codegen"
    r"|compilation_parallelism)\w*)"
)


def flags(env: Mapping[str, str], platform: str) -> dict[str, str]:
    """Return the flags of an environment that change results, by the name of their variable.

    Args:
        env: the environment variables.
        platform: "cpu", "gpu" or "tpu"; flags of other platforms change nothing.
    """
    parts = {
        variable: " ".join(_changing(env.get(variable, ""), platform))
        for variable, where in _VARIABLES.items()
        if where in (None, platform)
    }
    return {variable: text for variable, text in parts.items() if text}


def _changing(text: str, platform: str) -> list[str]:
    """Return the flags in a text that change results, in order of their names."""
    values: dict[str, str] = {}
    for flag in _words(text.strip()):
        name, _, value = flag.partition("=")
        values[name] = value  # of several the last counts
    others = {"--xla_cpu_", "--xla_gpu_", "--xla_tpu_"} - {f"--xla_{platform}_"}
    names = [name for name in sorted(values) if not name.startswith(tuple(others))]
    return [
        f"{name}={values[name]}" if values[name] else name
        for name in names
        if not _NEUTRAL.fullmatch(name)
    ]


def _words(text: str) -> list[str]:
    """Return the flags in a variable, or in the file that it names instead."""
    if not text.startswith("-"):
        with contextlib.suppress(OSError, ValueError):
            text = read_text(Path(text))
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def check(folder: Path, platform: str) -> None:
    """Check that a run goes on under the flags that it began with.

    Args:
        folder: of the run.
        platform: "cpu", "gpu" or "tpu".

    Raises:
        UsageError: a flag that changes results is different.
        RunError: the file of flags cannot be read.
    """
    path, now = folder / FILE, flags(os.environ, platform)
    if not path.exists():  # nothing has begun here, or an older version began it
        return
    try:
        before = {str(name): str(text) for name, text in read_json(path).items()}
    except (OSError, ValueError, AttributeError):
        raise RunError(f"{path} can't be read; remove the folder of the run") from None
    for name in sorted({*before, *now}):
        if _normal(before.get(name, "")) != _normal(now.get(name, "")):
            then, here = (f"{name}={shlex.quote(x.get(name, ''))}" for x in (before, now))
            raise UsageError(
                f"{folder} was begun with {then}, now there is {here}, which changes results; "
                f"set {then} to go on, or choose another --out"
            )


def _normal(text: str) -> list[str]:
    """Return flags in one spelling: true and 1, and false and 0, mean the same."""
    spelling = {"true": "1", "True": "1", "false": "0", "False": "0"}
    pairs = [flag.partition("=") for flag in text.split(" ")]
    return [f"{name}={spelling.get(value, value)}" for name, _, value in pairs]


def note(folder: Path, platform: str) -> None:
    """Write down the flags that a run begins with, unless that was done before."""
    if not (folder / FILE).exists():
        write_json(folder / FILE, flags(os.environ, platform))
