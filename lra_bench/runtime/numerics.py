"""The settings of JAX and XLA that change results: they are pinned, or recorded with the run.

A setting of JAX has one value here, whatever the environment says. The flags of XLA and of the
libraries below it have no fixed meaning from version to version, so they are left as they are: the
run records them, and goes on only under the same ones.
"""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from lra_bench.errors import RunError, UsageError
from lra_bench.files.json_files import read_json, write_json
from lra_bench.files.regular import read_text

# JAX's own defaults of the settings that change numbers, or that end a run at other places.
PINNED: dict[str, Any] = {
    "jax_accurate_erf_inv": False,
    "jax_allow_f16_reductions": True,
    "jax_bcoo_cusparse_lowering": False,
    "jax_check_tracer_leaks": False,
    "jax_compiler_enable_remat_pass": True,
    "jax_custom_jvp3": False,
    "jax_custom_vjp3": False,
    "jax_debug_infs": False,
    "jax_debug_key_reuse": False,
    "jax_debug_nans": False,
    "jax_default_device": None,
    "jax_default_dtype_bits": "64",
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_enable_checks": False,
    "jax_enable_custom_prng": False,
    "jax_enable_pgle": False,
    "jax_enable_x64": False,
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_explicit_x64_dtypes": "warn",
    "jax_high_dynamic_range_gumbel": False,
    "jax_legacy_prng_key": "allow",
    "jax_memory_fitting_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_no_execution": False,
    "jax_no_tracing": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_optimization_level": "UNKNOWN",
    "jax_pallas_poison_buffers": False,
    "jax_ragged_dot_use_ragged_dot_instruction": True,
    "jax_random_seed_offset": 0,
    "jax_remat3": False,
    "jax_remat_barrier_no_cotangents": False,
    "jax_scan3": False,
    "jax_softmax_custom_jvp": False,
    "jax_thread_guard": False,
    "jax_threefry_gpu_kernel_lowering": False,
    "jax_threefry_partitionable": True,
    "jax_transfer_guard": None,
    "jax_transfer_guard_device_to_device": None,
    "jax_transfer_guard_device_to_host": None,
    "jax_transfer_guard_host_to_device": None,
    "jax_use_direct_linearize": True,
    "jax_use_hlo_logistic_lowering": None,
    "jax_use_rgv3": True,
    "jax_use_shardy_partitioner": True,
    "jax_use_simplified_jaxpr_constants": False,
}
# Of these variables nothing can be pinned. A variable counts where its platform computes.
_VARIABLES = {"XLA_FLAGS": None, "LIBTPU_INIT_ARGS": "tpu", "NVIDIA_TF32_OVERRIDE": "gpu"}
# Flags that change no result: the number of devices, and what is written, shown, or waited for.
_NEUTRAL = re.compile(
    r"--xla_(force_host_platform_device_count|tpu_use_enhanced_launch_barrier"
    r"|\w*(dump|timeout|cache_dir|data_dir|profil|log|print|alarm|parallel_codegen"
    r"|compilation_parallelism)\w*)"
)
_TRUE, _FALSE = ("y", "yes", "t", "true", "on", "1"), ("n", "no", "f", "false", "off", "0")
FILE = "flags.json"


def pin() -> None:
    """Give JAX the settings that results rely on, and name on standard error what that overrides.

    Call it before JAX is imported, so that the processes started later get them too; and again
    after modules of others are imported, which may change them.
    """
    overridden = [*_pin_variables(), *_pin_config()]
    if overridden:
        print(
            f"lra-bench: ignored, because results would depend on it: {', '.join(overridden)}",
            file=sys.stderr,
        )


def _pin_variables() -> list[str]:
    """Remove the variables that JAX would read; return those that said something else."""
    overridden = []
    for name, value in PINNED.items():
        text = os.environ.pop(name.upper(), None)
        if text is not None and not _says(text, value):
            overridden.append(f"{name.upper()}={text}")
    return overridden


def _pin_config() -> list[str]:
    """Set the values in JAX, if it is imported; return the settings that were different."""
    jax: Any = sys.modules.get("jax")
    if jax is None:
        return []
    values = jax.config.values
    different = [name for name in PINNED if name in values and _plain(values[name]) != PINNED[name]]
    for name in different:
        jax.config.update(name, PINNED[name])
    return [f"{name}={_plain(values[name])}" for name in different]


def _plain(value: Any) -> Any:
    """Return the name of a member of an enumeration, and any other value as it is."""
    return value.name.lower() if isinstance(value, Enum) else value


def _says(text: str, value: Any) -> bool:
    """Return whether the text of a variable means a value, as JAX reads it."""
    if isinstance(value, bool):
        return text.lower() in (_TRUE if value else _FALSE)
    if isinstance(value, int | float):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text.lower() == (value or "").lower()


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


def check_flags(folder: Path, platform: str) -> None:
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


def note_flags(folder: Path, platform: str) -> None:
    """Write down the flags that a run begins with, unless that was done before."""
    if not (folder / FILE).exists():
        write_json(folder / FILE, flags(os.environ, platform))
