"""The program of a cell: a pure function, and the arrays that it takes."""

import functools
import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Key

from lra_bench.contracts import Dims, Task
from lra_bench.efficiency.cells import SIZES, VOCABULARY, Cell
from lra_bench.model.mechanism import attended, build_attention
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.runtime.devices import sharing
from lra_bench.runtime.mesh import on_mesh
from lra_bench.settings import RunSettings, from_dict
from lra_bench.training.learner import Learner, make_learner

# Numbers that are drawn at a time, before they are cast.
_DRAWN_AT_ONCE = 2**18
# JAX takes an array that lies at a multiple of 64 bytes as it is, and copies any other.
_OFF = 16


@dataclass(frozen=True)
class Input:
    """An array that comes with each call, examples on its first axis.

    Attributes:
        shape: with the examples on the first axis.
        dtype: "bool", "int32" or a floating-point type.
        below: whole numbers are drawn from `least` to below this.
        least: 1 for tokens, of which 0 is padding.
    """

    shape: tuple[int, ...]
    dtype: str
    below: int = 2
    least: int = 1

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return values without padding: from N(0, 1), true, or whole numbers.

        They lie in memory that a limit of this process does not count, from which JAX copies them.
        """
        array = _uncounted(self.shape, jax.numpy.dtype(self.dtype))
        flat = array.reshape(-1)
        for start in range(0, flat.size, _DRAWN_AT_ONCE):
            part = flat[start : start + _DRAWN_AT_ONCE]
            part[:] = self._values(rng, part.size)
        return array

    def _values(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return so many values in the type in which they are drawn."""
        if self.dtype == "bool":
            return np.ones(count, bool)
        if self.dtype == "int32":
            return rng.integers(self.least, self.below, count, np.int32)
        return rng.standard_normal(count, np.float32)


def _uncounted(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros in shared memory, which RLIMIT_DATA does not count."""
    buffer = mmap.mmap(-1, math.prod(shape) * dtype.itemsize + _OFF)
    return np.ndarray(shape, dtype, buffer, _OFF)


@dataclass(frozen=True)
class Program:
    """A program to compile, measure and count.

    Attributes:
        function: takes the state and the inputs.
        init: makes the state from a key.
        params: returns the learned part of a state.
        inputs: the other arguments of `function`, in order.
        updates: whether `function` consumes the state and returns a new one as its first result.
    """

    function: Callable[..., Any]
    init: Callable[[Key[Array, ""]], Any]
    params: Callable[[Any], Any]
    inputs: tuple[Input, ...]
    updates: bool = False

    @functools.cached_property
    def state(self) -> Any:
        """Return shapes and types of the state."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def count_parameters(self) -> int:
        """Return the number of learned numbers in the state."""
        return sum(math.prod(x.shape) for x in jax.tree.leaves(self.params(self.state)))


def build(cell: Cell) -> Program:
    """Return the program of a cell.

    Raises:
        UsageError: the attention or the task is unknown.
    """
    settings = from_dict(cell.config)
    return _attention(cell, settings) if cell.scope == "attention" else _whole(cell, settings)


class _Holder(nnx.Module):
    """A mechanism as a module, even if it is a function, so that its arrays can be split."""

    def __init__(self, settings: RunSettings, dims: Dims, key: Key) -> None:
        options, rngs = settings.attention_options, nnx.Rngs(key)
        self.attend = build_attention(settings.attention, dims, options, rngs)


def _attention(cell: Cell, settings: RunSettings) -> Program:
    """Return the program of the mechanism alone.

    Forward it maps q, k, v (b l h d) and mask (b l) to the output (b l h d). Backward it takes the
    gradient at the output too, and returns the output and the gradients of parameters, q, k, v.
    For a mixer x (b l e) takes the place of q, k, v, and e is h d.
    """
    dims = Dims(settings.model.num_heads, settings.model.head_dim, cell.length)
    make = functools.partial(_Holder, settings, dims)
    graph = nnx.split(nnx.eval_shape(lambda: make(jax.random.key(0))), nnx.Param, ...)[0]

    def init(key: Key) -> Any:
        return nnx.split(make(key), nnx.Param, ...)[1:]

    def forward(state: Any, *arrays: Array) -> Array:
        return attended(settings.attention, nnx.merge(graph, *state).attend, *arrays)

    def backward(state: Any, *arrays: Array) -> Any:
        params, sampled = state
        *tokens, mask, given = arrays

        def call(params: Any, *tokens: Array) -> Array:
            return forward((params, sampled), *tokens, mask)

        out, gradient = jax.vjp(call, params, *tokens)
        return out, gradient(given)

    inputs = _attention_inputs(cell, dims, mixer=ATTENTIONS.get(settings.attention).traits.mixer)
    if cell.direction == "forward":
        return Program(forward, init, lambda state: state[0], inputs)
    return Program(backward, init, lambda state: state[0], (*inputs, inputs[0]))


def _attention_inputs(cell: Cell, dims: Dims, *, mixer: bool) -> tuple[Input, ...]:
    """Return x and mask for a mixer, else q, k, v and mask."""
    sizes = (dims.emb_dim,) if mixer else (dims.num_heads, dims.head_dim)
    tokens = Input((cell.batch, cell.length, *sizes), cell.dtype)
    mask = Input((cell.batch, cell.length), "bool")
    return (*(1 if mixer else 3) * (tokens,), mask)


@dataclass(frozen=True)
class _Resized:
    """A task with documents of another length, or with another vocabulary."""

    task: Task
    max_len: int
    vocab_size: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)


def _whole(cell: Cell, settings: RunSettings) -> Program:
    """Return the classifier's program: logits, the gradient of the loss, or a training step."""
    own = make_task(settings.task, settings.data)
    task: Any = _Resized(own, cell.length, VOCABULARY if cell.size in SIZES else own.vocab_size)
    learner = make_learner(task, settings)
    pair = (2,) if task.paired else ()
    tokens = Input((cell.batch, *pair, cell.length), "int32", task.vocab_size)
    labels = Input((cell.batch,), "int32", task.num_classes, 0)
    if cell.direction == "step":
        step = functools.partial(_step, learner)
        return Program(step, learner.init, lambda state: state.params, (tokens, labels), True)

    def init(key: Key) -> Any:
        state = learner.init(key)
        return state.params, state.sampled

    if cell.direction == "forward":
        return Program(functools.partial(_logits, learner), init, lambda x: x[0], (tokens,))
    gradient = functools.partial(_gradient, learner)
    return Program(gradient, init, lambda state: state[0], (tokens, labels))


def _step(learner: Learner, state: Any, tokens: Array, labels: Array) -> Any:
    return learner.train_step(state, tokens, labels, jax.random.key(0))


def _logits(learner: Learner, state: Any, tokens: Array) -> Array:
    return learner.merge(*state)(tokens)


def _gradient(learner: Learner, state: Any, tokens: Array, labels: Array) -> Any:
    key = jax.random.key(0)
    loss_and_gradient = jax.value_and_grad(learner.batch_loss, has_aux=True)
    return loss_and_gradient(*state, learner.scored(tokens, labels, key), key)


class Layout:
    """The placement of arrays: the state on every device, the examples divided among them."""

    def __init__(self, devices: list[Any]) -> None:
        self._devices = sharing(devices)

    def _specs(self, program: Program) -> tuple[Any, ...]:
        """Return shapes, types and placement of the state and the inputs."""
        state = self._devices.replicated_shapes(program.state)
        struct = functools.partial(jax.ShapeDtypeStruct, sharding=self._devices.by_example)
        return state, *(struct(x.shape, jax.numpy.dtype(x.dtype)) for x in program.inputs)

    def trace(self, program: Program) -> Any:
        """Return the program traced for these devices; it keeps inputs that it does not use."""
        function = on_mesh(self._devices.replicated.mesh, program.function)
        donated = (0,) if program.updates else ()
        jitted = jax.jit(function, donate_argnums=donated, keep_unused=True)
        return jitted.trace(*self._specs(program))

    def compile_init(self, program: Program) -> Callable[[], Any]:
        """Return a function that makes the state on these devices."""
        init = jax.jit(program.init, out_shardings=self._devices.replicated)
        key = jax.device_put(jax.random.key(0), self._devices.replicated)
        compiled = init.lower(key).compile()
        return lambda: compiled(key)

    def arrays(self, program: Program, init: Callable[[], Any]) -> tuple[Any, list[Array]]:
        """Return the state and the inputs."""
        rng, state = np.random.default_rng(0), init()
        return state, [self._put(x.draw(rng)) for x in program.inputs]

    def _put(self, array: np.ndarray) -> Array:
        """Return a copy on these devices; only once it is complete, the host's can be freed."""
        return jax.block_until_ready(jax.device_put(array, self._devices.by_example))
