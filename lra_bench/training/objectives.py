"""Choose the targets of a model: the label of an example, or tokens of it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lra_bench.contracts import CHOSEN, MASKED, RANDOM, Started, Task, TokenTask


class Scored(NamedTuple):
    """A batch as a model sees it, and what it is scored on.

    Attributes:
        inputs: tokens that the model reads, (b, l), or (b, 2, l).
        targets: the right answers, (b,) or, for tokens, (b, l).
        weights: how much each answer counts, 0 or 1, in the shape of `targets`.
    """

    inputs: Int[Array, "b ... l"]
    targets: Int[Array, "b ..."]
    weights: Float[Array, "b ..."]


# Of tokens (b, [2,] l), labels (b,), the weights of the examples (b,), and a key for each (b,).
Objective = Callable[[Array, Array, Array, Key[Array, " b"]], Scored]


def objective_of(task: Task) -> Objective:
    """Return what a task is scored on."""
    if not isinstance(task, TokenTask):
        return classification
    maker = {"next": next_token, "masked": masked_token}[task.objective]
    return maker(task)


def classification(
    tokens: Int[Array, "b ... l"],
    labels: Int[Array, " b"],
    weights: Float[Array, " b"],
    keys: Key[Array, " b"],
) -> Scored:
    """Score the label of each example."""
    del keys
    return Scored(tokens, labels, weights)


def next_token(task: TokenTask) -> Objective:
    """Score at each position the token after it: "U" in Appendix A.1 of the Performer paper.

    With a start token, the model reads it first, and the last token not at all: all are scored.
    """
    start = task.start_id if isinstance(task, Started) else None

    def objective(tokens: Array, labels: Array, weights: Array, keys: Array) -> Scored:
        del labels, keys
        tokens = tokens.astype(jnp.int32)
        scored = task.scored(tokens).astype(jnp.float32) * weights[:, None]
        if start is not None:
            inputs = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=start)
            return Scored(inputs, tokens, scored)
        # The last position has no token after it; the first token is after none.
        shift = ((0, 0), (0, 1))
        targets, counted = (jnp.pad(x[:, 1:], shift) for x in (tokens, scored))
        return Scored(tokens, targets, counted)

    return objective


def masked_token(task: TokenTask) -> Objective:
    """Score a random 15 % of the tokens: "B" in Appendix A.1 of the Performer paper.

    In the input, 80 % of them are the mask, 10 % random tokens, and 10 % themselves: Devlin et al.
    2019, arXiv:1810.04805, Section 3.1.
    """

    def objective(tokens: Array, labels: Array, weights: Array, keys: Array) -> Scored:
        del labels
        tokens = tokens.astype(jnp.int32)
        chosen, inputs = jax.vmap(_masked(task))(keys, tokens)
        scored = (chosen & task.scored(tokens)).astype(jnp.float32) * weights[:, None]
        return Scored(jnp.where(scored > 0, inputs, tokens), tokens, scored)

    return objective


def _masked(task: TokenTask) -> Callable[[Array, Array], tuple[Bool[Array, " l"], Array]]:
    """Return a function that draws which tokens are predicted, and what the model sees there."""
    first, last = task.ordinary

    def draw(key: Key[Array, ""], tokens: Int[Array, " l"]) -> tuple[Array, Array]:
        choice, manner, token = jax.random.split(key, 3)
        chosen = jax.random.bernoulli(choice, CHOSEN, tokens.shape)
        uniform = jax.random.uniform(manner, tokens.shape)
        other = jax.random.randint(token, tokens.shape, first, last + 1)
        changed = jnp.where(uniform < MASKED + RANDOM, other, tokens)
        return chosen, jnp.where(uniform < MASKED, task.mask_id, changed)

    return draw
