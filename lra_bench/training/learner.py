"""The training and evaluation steps: pure functions over a plain pytree of arrays."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Float, Int, Key

from lra_bench.contracts import Rule, Task
from lra_bench.model.build import Model, make_model
from lra_bench.settings import RunSettings, TrainSettings
from lra_bench.training.objectives import Objective, Scored, objective_of
from lra_bench.training.optim import optimiser

Arrays = dict[str, Array]
# Sets the random choice of what is hidden apart from that of dropout.
_OBJECTIVE = 0x0B1EC


class Window(NamedTuple):
    """Sums over the steps since the last line of training metrics.

    They are part of the state, so that a resumed run writes the same lines.

    Attributes:
        loss: sum of the losses.
        accuracy: sum of the accuracies.
        steps: number of steps.
        diverged_at: the first step whose loss is not finite, or -1.
    """

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    steps: Int[Array, ""]
    diverged_at: Int[Array, ""]


class State(NamedTuple):
    """All arrays that change in training; a checkpoint holds them and nothing else.

    Attributes:
        step: updates done.
        params: learned arrays, by name.
        sampled: random features and rotations, by name; they are redrawn, not learned.
        optimiser: the optimiser's state.
        window: sums for the next line of training metrics.
    """

    step: Int[Array, ""]
    params: Arrays
    sampled: Arrays
    optimiser: Any
    window: Window


class Evaluated(NamedTuple):
    """The result on a batch.

    Attributes:
        loss: sum of the weighted losses.
        right: weighted right answers of each example.
        answers: weighted answers of each example: 1, or the tokens that are scored.
    """

    loss: Float[Array, ""]
    right: Float[Array, " b"]
    answers: Float[Array, " b"]


def empty_window() -> Window:
    """Return a window of no steps."""
    return Window(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32), -jnp.ones((), jnp.int32))


def flat(state: Any) -> Arrays:
    """Return an nnx state as {"encoder.blocks.0.query.kernel": array}, which is cheap for jit."""
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state)}


@dataclass(frozen=True)
class Learner:
    """The pure functions of one run. Build it by `make_learner`.

    Attributes:
        draw: returns the learned and the sampled arrays of a new model, from a key.
        merge: returns the model with given learned and sampled arrays.
        objective: what the model is scored on.
        optimiser: turns gradients into updates.
        settings: of the training.
    """

    draw: Callable[[Key[Array, ""]], tuple[Any, Any]]
    merge: Callable[[Arrays, Arrays], Model]
    objective: Objective
    optimiser: optax.GradientTransformation
    settings: TrainSettings

    def init(self, key: Key[Array, ""]) -> State:
        """Return the state before the first step."""
        params, sampled = (flat(state) for state in self.draw(key))
        opt_state, step = self.optimiser.init(params), jnp.zeros((), jnp.int32)
        return State(step, params, sampled, opt_state, empty_window())

    def train_step(
        self, state: State, tokens: Int[Array, "b *two l"], labels: Int[Array, " b"], key: Key
    ) -> tuple[State, Float[Array, ""]]:
        """Return the state after one update, and the loss; dropout uses `key` and the step."""
        key = jax.random.fold_in(key, state.step)
        batch = self.scored(tokens, labels, key)
        loss, accuracy, grads = self._gradients(state, batch, key)
        updates, opt_state = self.optimiser.update(grads, state.optimiser, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        window = _extend(state.window, loss, accuracy, state.step + 1)
        return State(state.step + 1, params, state.sampled, opt_state, window), loss

    def scored(self, tokens: Array, labels: Array, key: Key[Array, ""]) -> Scored:
        """Return a batch of training as the model sees it; weights add up to 1."""
        keys = jax.random.split(jax.random.fold_in(key, _OBJECTIVE), len(tokens))
        batch = self.objective(tokens, labels, jnp.ones(len(tokens)), keys)
        return batch._replace(weights=batch.weights / jnp.maximum(jnp.sum(batch.weights), 1))

    def _gradients(
        self, state: State, batch: Scored, key: Key[Array, ""]
    ) -> tuple[Array, Array, Arrays]:
        """Return mean loss, accuracy and gradients, over `accumulate` parts in turn."""
        parts = self.settings.accumulate

        def part(carry: Any, numbered: tuple[Scored, Array]) -> tuple[Any, None]:
            batch, index = numbered
            value_and_grad = jax.value_and_grad(self.batch_loss, has_aux=True)
            part_key = jax.random.fold_in(key, index)
            (loss, right), grads = value_and_grad(state.params, state.sampled, batch, part_key)
            return jax.tree.map(jnp.add, carry, (loss, right, grads)), None

        # Every part takes each `parts`-th example, so that all devices have a share of it.
        cut = Scored(*(x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1) for x in batch))
        zero = (jnp.zeros(()), jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.params))
        batches = (cut, jnp.arange(parts))
        if parts == 1:
            return part(zero, jax.tree.map(lambda x: x[0], batches))[0]
        return jax.lax.scan(part, zero, batches)[0]

    def batch_loss(
        self, params: Arrays, sampled: Arrays, batch: Scored, key: Key[Array, ""]
    ) -> tuple[Array, Array]:
        """Return the weighted loss and right answers of a batch, with dropout by `key`."""
        logits = self.merge(params, sampled)(batch.inputs, nnx.Rngs(dropout=key))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        right = _correct(logits, batch.targets) * batch.weights
        return jnp.sum(losses * batch.weights), jnp.sum(right)

    def eval_step(
        self,
        params: Arrays,
        sampled: Arrays,
        tokens: Int[Array, "b *two l"],
        labels: Int[Array, " b"],
        weights: Float[Array, " b"],
        numbers: Int[Array, " b"],
    ) -> Evaluated:
        """Return the result on a batch, without dropout; an example of weight 0 does not count.

        What is hidden of an example depends on its number in the split alone.
        """
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(_OBJECTIVE), numbers)
        batch = self.objective(tokens, labels, weights, keys)
        logits = self.merge(params, sampled)(batch.inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        right = _correct(logits, batch.targets) * batch.weights
        by_example = (x.reshape(len(tokens), -1).sum(axis=1) for x in (right, batch.weights))
        return Evaluated(jnp.sum(losses * batch.weights), *by_example)

    def resample(self, state: State, key: Key) -> State:
        """Redraw random features and rotations, by `key` folded with the step."""
        model = self.merge(state.params, state.sampled)
        key = jax.random.fold_in(key, state.step)
        draws = [getattr(module, "resample", None) for _, module in nnx.iter_modules(model)]
        for number, draw in enumerate(filter(None, draws)):
            draw(jax.random.fold_in(key, number))
        return state._replace(sampled=flat(nnx.split(model, nnx.Param, ...)[2]))


def _correct(logits: Array, labels: Array) -> Array:
    return jnp.argmax(logits, axis=-1) == labels


def _extend(window: Window, loss: Array, accuracy: Array, step: Array) -> Window:
    known = window.diverged_at >= 0
    diverged = jnp.where(known | jnp.isfinite(loss), window.diverged_at, step)
    return Window(window.loss + loss, window.accuracy + accuracy, window.steps + 1, diverged)


def make_learner(task: Task, settings: RunSettings) -> Learner:
    """Return the functions of a run of `settings` on `task`.

    Raises:
        UsageError: unknown attention.
        TypeError: the attention has no such option.
    """
    graph, (params, sampled), draw = _traced(task, settings)
    merge = functools.partial(_merge, graph, _paths(params), _paths(sampled))
    updates = optimiser(settings.train, _rules(params))
    return Learner(draw, merge, objective_of(task), updates, settings.train)


def count_parameters(task: Task, settings: RunSettings) -> int:
    """Return the number of parameters of the model of `settings`, without making any."""
    _, (params, _), _ = _traced(task, settings)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _traced(task: Task, settings: RunSettings) -> tuple[Any, Any, Callable[[Key], Any]]:
    """Return the model's graph, the shapes of its learned and sampled arrays, and what draws them.

    Building the model takes half as long as tracing a step. It is built once; drawing its arrays
    replays that.
    """
    graphs = []

    def build(key: Key) -> tuple[Any, Any]:
        options, rngs = settings.attention_options, nnx.Rngs(key)
        model = make_model(task, settings.model, settings.attention, options, rngs)
        graph, params, sampled = nnx.split(model, nnx.Param, ...)
        graphs.append(graph)
        return params, sampled

    program, shapes = jax.make_jaxpr(build, return_shape=True)(jax.random.key(0))
    replay, tree = jaxpr_as_fun(program), jax.tree.structure(shapes)
    return graphs[0], shapes, lambda key: tree.unflatten(replay(key))


def _rules(params: Any) -> dict[str, Rule]:
    """Return the rules of the arrays that have one, by name."""
    leaves = {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(params)}
    rules = {name: leaf.get_metadata().get("rule") for name, leaf in leaves.items()}
    return {name: rule for name, rule in rules.items() if rule is not None}


def _paths(state: Any) -> list[tuple]:
    return [path for path, _ in nnx.to_flat_state(state)]


def _merge(graph: Any, params: list, sampled: list, param_arrays: Arrays, arrays: Arrays) -> Any:
    """Return the model with copies of these arrays: writing to it must not change them."""
    states = (
        nnx.from_flat_state([(path, arrays[".".join(map(str, path))]) for path in paths])
        for paths, arrays in ((params, param_arrays), (sampled, arrays))
    )
    return nnx.merge(graph, *states, copy=True)
