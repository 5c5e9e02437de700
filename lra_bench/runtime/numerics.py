"""Pin the settings of JAX that change results: each has one value, whatever variables say."""

import os
import sys
from enum import Enum
from typing import Any

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
_TRUE, _FALSE = ("y", "yes", "t", "true", "on", "1"), ("n", "no", "f", "false", "off", "0")


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
