"""Learning-rate schedules and the optimiser."""

import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from lra_bench.contracts import Rule
from lra_bench.settings import TrainSettings


def warmup(step: Array, steps: int) -> Array:
    """Return a factor that rises linearly to 1 at `steps`."""
    return jnp.minimum(1.0, (step + 1) / max(steps, 1))


def constant(step: Array, warmup_steps: int, total: int) -> Array:
    """Return the warm-up, then 1."""
    del total
    return warmup(step, warmup_steps)


def linear(step: Array, warmup_steps: int, total: int) -> Array:
    """Return the warm-up, then a straight line down to 0 at `total`."""
    down = (total - step) / max(total - warmup_steps, 1)
    return jnp.minimum(warmup(step, warmup_steps), jnp.clip(down, 0, 1))


def cosine(step: Array, warmup_steps: int, total: int) -> Array:
    """Return the warm-up, then half a cosine down to 0 at `total`."""
    done = jnp.clip((step - warmup_steps) / max(total - warmup_steps, 1), 0, 1)
    return warmup(step, warmup_steps) * (1 + jnp.cos(jnp.pi * done)) / 2


def rsqrt(step: Array, warmup_steps: int, total: int) -> Array:
    """Return the warm-up times 1 / sqrt(max(step, warmup_steps)).

    It is "constant * linear_warmup * rsqrt_decay" of the LRA code. Its learning rate of 0.05 peaks
    at 0.0016 with 1,000 steps of warm-up.
    """
    del total
    return warmup(step, warmup_steps) / jnp.sqrt(jnp.maximum(step + 1.0, max(warmup_steps, 1)))


def onecycle(step: Array, warmup_steps: int, total: int) -> Array:
    """Return PyTorch's OneCycleLR with straight lines: from 1/25 up to 1, and down to 1/250,000.

    It is 1 at step `warmup_steps` - 1, counted from 0.
    """
    rise, fall = _cycle(step, warmup_steps, total)
    return _between(1 / 25, 1.0, rise) * _between(1.0, 1 / 250_000, fall)


def onecycle_beta1(step: Array, warmup_steps: int, total: int) -> Array:
    """Return Adam's beta1 under OneCycleLR: from 0.95 down to 0.85, and up to 0.95 again."""
    rise, fall = _cycle(step, warmup_steps, total)
    return _between(0.95, 0.85, rise - fall)


def _cycle(step: Array, warmup_steps: int, total: int) -> tuple[Array, Array]:
    """Return which share of the first and of the second part of the cycle is done."""
    peak = max(warmup_steps - 1, 1)
    fall = (step - peak) / max(total - 1 - peak, 1)
    return jnp.minimum(step / peak, 1.0), jnp.clip(fall, 0.0, 1.0)


def _between(start: float, end: float, share: Array) -> Array:
    return start + (end - start) * share


SCHEDULES = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "rsqrt": rsqrt,
    "onecycle": onecycle,
}


def learning_rate(step: Array, settings: TrainSettings) -> Array:
    """Return the learning rate of the update after `step` updates."""
    factor = SCHEDULES[settings.schedule](step, settings.warmup_steps, settings.num_steps)
    return settings.learning_rate * factor


def optimiser(
    settings: TrainSettings, rules: Mapping[str, Rule] | None = None
) -> optax.GradientTransformation:
    """Return AdamW with the schedule; gradients are clipped first, if settings say so.

    Args:
        settings: of the training.
        rules: of the arrays that are changed in another way, by name.
    """
    rules = rules or {}
    clip = [optax.clip(settings.clip_value)] if settings.clip_value else []
    clip += [optax.clip_by_global_norm(settings.clip_norm)] if settings.clip_norm else []
    adamw = _adamw(settings, rules)
    learned = optax.chain(*clip, adamw) if clip else adamw
    return _with_rules(learned, rules, settings.accumulate) if rules else learned


def _adamw(settings: TrainSettings, rules: Mapping[str, Rule]) -> optax.GradientTransformation:
    options = {
        "learning_rate": lambda step: learning_rate(jnp.asarray(step), settings),
        "b2": settings.beta2,
        "eps": settings.epsilon,
        "weight_decay": settings.weight_decay,
        "mask": functools.partial(_decayed, rules) if rules else None,
    }
    if settings.schedule != "onecycle":
        return optax.adamw(**options)
    span = settings.warmup_steps, settings.num_steps
    scheduled = optax.inject_hyperparams(
        optax.adamw, static_args=("b2", "eps", "weight_decay", "mask"), hyperparam_dtype=jnp.float32
    )
    return scheduled(b1=lambda step: onecycle_beta1(jnp.asarray(step), *span), **options)


def _rule(rules: Mapping[str, Rule], name: str) -> Rule:
    return rules.get(name, Rule())


def _decayed(rules: Mapping[str, Rule], params: Any) -> Any:
    return {name: _rule(rules, name).decay for name in params}


def _with_rules(
    learned: optax.GradientTransformation, rules: Mapping[str, Rule], parts: int
) -> optax.GradientTransformation:
    """Return the optimiser with factors of the learning rate, and with averages beside it.

    Args:
        learned: the optimiser of the other arrays.
        rules: by the name of an array.
        parts: of a batch, whose gradients were added up.
    """
    averages = {name: rule.average for name, rule in rules.items() if rule.average is not None}

    def rest(arrays: Any) -> Any:
        return {name: x for name, x in arrays.items() if name not in averages}

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        # Each part of a batch adds the value once, and the whole must have it once.
        moved = {
            name: (average - 1) * (updates[name] - (parts - 1) * params[name])
            for name, average in averages.items()
        }
        changes: Any
        changes, state = learned.update(rest(updates), state, rest(params))
        scaled = {name: _rule(rules, name).rate * x for name, x in changes.items()}
        return scaled | moved, state

    return optax.GradientTransformation(lambda params: learned.init(rest(params)), update)
