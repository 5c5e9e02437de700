"""Train a mechanism to imitate softmax, before the first step of a run that starts from another.

A mechanism that can do this has an attribute `distil_steps`, the number of updates, and a method
`distillation_loss(q, k, mask)`. Only its own learned arrays are trained; the queries and keys are
those of the other run's model, whose attention is softmax.
"""

import functools
from collections.abc import Callable
from contextlib import closing
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from lra_bench.data.batches import Prefetch
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError
from lra_bench.model.encoder import Encoder, SelfAttention
from lra_bench.registry import ATTENTIONS, REFERENCE
from lra_bench.runtime.stopping import Stopped, StopRequest
from lra_bench.settings import RunSettings
from lra_bench.training.learner import Arrays, Learner, State
from lra_bench.training.programs import Programs

# Only a few matrices of each head are trained, and they start as something useful.
_OPTIMISER = optax.adam(0.01)
# A chunked form, so that memory does not grow with the square of the length.
_TEACHER = "softmax-chunked"
_OWN = ".attend."


def steps_of(settings: RunSettings) -> int:
    """Return the number of distillation steps that a run asks for.

    Raises:
        UsageError: there are some, but the run does not start from another.
    """
    steps = settings.attention_options.get("distil_steps", 0) if imitates(settings.attention) else 0
    if steps and settings.init_from is None:
        raise UsageError(
            f"attention.distil_steps={steps}: needs --init-from, a run with {REFERENCE} to imitate"
        )
    return steps


def imitates(attention: str) -> bool:
    """Return whether a mechanism can be trained to imitate softmax."""
    return hasattr(ATTENTIONS.get(attention).target, "distillation_loss")


def taken(settings: RunSettings, arrays: Arrays) -> Arrays:
    """Return which learned arrays a run takes from the run that it starts from.

    It takes all but the own arrays of a mechanism that can imitate softmax, unless both runs have
    this mechanism.
    """
    origin = settings.init_from
    if origin is None or origin.attention == settings.attention or not imitates(settings.attention):
        return arrays
    return {name: x for name, x in arrays.items() if _OWN not in name}


def distilled(
    state: State,
    steps: int,
    learner: Learner,
    programs: Programs,
    display: Display,
    stop: StopRequest,
) -> State:
    """Return the state before the first step, after `steps` updates of the mechanism's own arrays.

    The batches are those of as many training steps. Nothing of this is saved, and no step of the
    run is billed for it.

    Raises:
        Stopped: on request; the run then starts with this again.
    """
    update = programs.jit(_update_of(learner), donate_argnums=(0, 1))
    own = {name: x for name, x in state.params.items() if _OWN in name}
    # The first update reads the arrays, and the next ones overwrite what it returned.
    own, moments = programs.jit(lambda own: (own, _OPTIMISER.init(own)))(own)
    losses = []
    batches = Prefetch(programs.train_batch, 0)
    with closing(batches), display.bar("distilling", steps) as bar:
        for step in range(steps):
            if stop.agreed():
                raise Stopped
            own, moments, loss = update(own, moments, state, batches.get(), step)
            losses = [*losses[:1], loss.block_until_ready()]
            bar(step + 1, "")
    first, last = float(losses[0]), float(losses[-1])
    display.line(f"distilled for {steps:,} steps: cross-entropy {first:.4f} at first, {last:.4f}")
    return state._replace(params={**state.params, **own})


def _update_of(learner: Learner) -> Callable[..., tuple[Arrays, Any, Array]]:
    """Return one update of the own arrays and the moments of Adam; it returns the loss too."""

    def update(
        own: Arrays, moments: Any, state: State, batch: tuple[Array, Array], step: int
    ) -> Any:
        inputs = learner.scored(*batch, jax.random.key(step)).inputs

        def loss_of(own: Arrays) -> Array:
            model = learner.merge({**state.params, **own}, state.sampled)
            return distillation_loss(model, inputs)

        loss, gradient = jax.value_and_grad(loss_of)(own)
        change, moments = _OPTIMISER.update(gradient, moments)
        return optax.apply_updates(own, change), moments, loss

    return update


def distillation_loss(model: nnx.Module, tokens: Array) -> Float[Array, ""]:
    """Return the mean over layers of the loss, on the queries and keys of the model with softmax.

    Args:
        model: a classifier; its mechanisms are replaced by softmax.
        tokens: a batch as the classifier takes it.
    """
    losses: list[Array] = []
    for _, module in list(nnx.iter_modules(model)):
        if isinstance(module, SelfAttention):
            module.attend = _observed(module.attend, losses)
        if isinstance(module, Encoder):
            module.remat = False  # what a block is computed twice for can't be taken out of it
    model(tokens)
    return sum(losses, start=jnp.zeros(())) / len(losses)


def _observed(mechanism: Any, losses: list[Array]) -> Callable[..., Array]:
    """Return softmax attention, causal as the mechanism is, that appends its loss to `losses`."""
    causal = bool(getattr(mechanism, "causal", False))
    exact = functools.partial(ATTENTIONS.get(_TEACHER).target, causal=causal)

    def attend(q: Array, k: Array, v: Array, mask: Array) -> Array:
        losses.append(mechanism.distillation_loss(q, k, mask))
        return exact(q, k, v, mask)

    return attend
