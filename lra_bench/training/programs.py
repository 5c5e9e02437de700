"""The compiled functions of a run, and the batches they take."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from lra_bench.data.batches import Batches, padded_batches
from lra_bench.data.store import Split, Store
from lra_bench.runtime.compile_cache import programs_read
from lra_bench.runtime.compile_options import quick, threads
from lra_bench.runtime.devices import Devices, place
from lra_bench.runtime.flops import flops_of
from lra_bench.runtime.mesh import on_mesh
from lra_bench.settings import RunSettings
from lra_bench.training.learner import Evaluated, Learner, State, empty_window


class Programs:
    """A learner's functions compiled for some devices.

    Every key comes from the seed and, within the functions, from the step. Nothing else is
    random, so a resumed run equals one that was never stopped.

    Attributes:
        shapes: shape, dtype and sharding of each array of a `State`, known before one exists.
        compile_seconds: time to trace and compile the training step; None before `compile`, and if
            the program was read from JAX's cache.
        flops_per_step: floating-point operations of a training step; a loop counts as often as it
            runs.
    """

    def __init__(
        self, learner: Learner, settings: RunSettings, store: Store, devices: Devices
    ) -> None:
        self._devices = devices
        self._keys = self._jit(functools.partial(_keys, settings.seed)).trace()
        keys = devices.replicated_shapes(self._keys.out_info)
        self._init_key, self._key, self._resample_key = keys
        self._train, self._validation = store.splits["train"], store.splits["validation"]
        self._eval_size = settings.train.eval_batch_size
        self._batches = Batches(len(self._train), settings.train.batch_size, settings.seed)
        self._init = self._jit(learner.init).trace(self._init_key)
        self.shapes = devices.replicated_shapes(self._init.out_info)
        self._train_step = self._jit(learner.train_step, donate_argnums=0)
        self._eval_step = self._jit(learner.eval_step)
        self._resample = self._jit(learner.resample, donate_argnums=0)
        self._resamples = settings.train.resample_every > 0 and bool(self.shapes.sampled)
        self._empty_window = self._jit(empty_window)
        self._quick = quick(devices.all[0].platform)
        # On CPUs, processes could otherwise start the exchanges of two steps in different orders.
        on_cpu = devices.all[0].platform == "cpu"
        self._one_at_a_time = on_cpu and jax.process_count() > 1
        self.compile_seconds: float | None = None
        self.flops_per_step: float | None = None

    def _jit(self, function: Any, **options: Any) -> Any:
        function = on_mesh(self._devices.replicated.mesh, function)
        return jax.jit(function, out_shardings=self._devices.replicated, **options)

    def jit(self, function: Any, **options: Any) -> Any:
        """Return a function jitted for the devices of the run, as its own functions are."""
        return self._jit(function, **options)

    def compile(self) -> None:
        """Compile all functions, before there is a state.

        No step is billed for it, and nothing is lost if it is interrupted. The limit of memory for
        arrays does not hold yet: the compiler ends the process if it is refused memory.

        While XLA compiles one function, Python traces the next, and other cores compile others.
        """
        once = functools.partial(_compile, options=self._quick)
        with _beside(threads(jax.process_count())) as submit:
            keys = submit(once, self._keys.lower())
            init = submit(once, self._init.lower())
            lowered, seconds = self._lower_train_step()
            step = submit(_compile_timed, lowered)
            evaluation = submit(_compile, self._eval_step.lower(*self._first_evaluation()))
            window = submit(once, self._empty_window.lower())
            if self._resamples:
                resample = self._resample.lower(self.shapes, self._resample_key)
                self._resample = submit(_compile, resample).result()
            self._init_key, self._key, self._resample_key = keys.result()()
            self._init, self._empty_window = init.result(), window.result()
            self._eval_step = evaluation.result()
            self._train_step, compiling = step.result()
        self.compile_seconds = None if compiling is None else seconds + compiling

    def _lower_train_step(self) -> tuple[Any, float]:
        started = time.perf_counter()
        traced = self._train_step.trace(self.shapes, *self.train_batch(0), self._key)
        lowered, seconds = traced.lower(), time.perf_counter() - started
        self.flops_per_step = flops_of(traced.jaxpr)
        return lowered, seconds

    def init(self) -> State:
        """Return the state before the first step."""
        return self._init(self._init_key)

    def train_batch(self, step: int) -> tuple[Array, Array]:
        """Return the tokens and labels for update number `step`, from 0 on."""
        return self._put(self._train, self._batches.indices(step))

    def train_step(self, state: State, batch: tuple[Array, Array]) -> tuple[State, Array]:
        """Return the next state and the loss; the given state is used up."""
        state, loss = self._train_step(state, *batch, self._key)
        if self._one_at_a_time:
            loss.block_until_ready()
        return state, loss

    def resample(self, state: State) -> State:
        """Redraw the sampled arrays, if there are any; the given state is used up."""
        return self._resample(state, self._resample_key) if self._resamples else state

    def eval_step(
        self, state: State, split: Split, indices: np.ndarray, weights: np.ndarray
    ) -> Evaluated:
        """Return the result on these examples of a split.

        More examples of weight 0 may follow them, so that the devices divide the batch.
        """
        return self._eval_step(*self._eval_arguments(state, split, indices, weights))

    def _first_evaluation(self) -> tuple[Any, ...]:
        first = next(padded_batches(len(self._validation), self._eval_size))
        return self._eval_arguments(self.shapes, self._validation, *first)

    def _eval_arguments(
        self, state: State, split: Split, indices: np.ndarray, weights: np.ndarray
    ) -> tuple[Any, ...]:
        more = -len(indices) % self._devices.shares  # so that all devices have as many
        indices, weights = np.pad(indices, (0, more), "edge"), np.pad(weights, (0, more))
        facts = (weights, indices.astype(np.int32))
        placed = (place(x, self._devices.by_example) for x in facts)
        return state.params, state.sampled, *self._put(split, indices), *placed

    def with_params(self, state: State, params: dict[str, np.ndarray]) -> State:
        """Return the state before any step, with other values of these parameters."""
        return state._replace(params={**state.params, **self._devices.replicate(params)})

    def without_window(self, state: State) -> State:
        """Return the state with an empty window of training metrics."""
        return state._replace(window=self._empty_window())

    def _put(self, split: Split, indices: np.ndarray) -> tuple[Array, Array]:
        put = self._devices.share_out
        return put(split.tokens, indices), put(split.labels, indices)


def _keys(seed: int) -> tuple[Array, ...]:
    """Return the keys of the parameters, of dropout, and of redrawing."""
    return tuple(jax.random.split(jax.random.key(seed), 3))


@contextlib.contextmanager
def _beside(threads: int) -> Iterator[Callable[..., Any]]:
    """Within the block, let threads do what is submitted, in this order.

    What has not begun at the end of the block is not done, so that an exception ends it soon.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool.submit
    finally:
        pool.shutdown(cancel_futures=True)


def _compile(lowered: Any, options: Mapping[str, int] | None = None) -> Any:
    return lowered.compile(compiler_options=dict(options or {}))


def _compile_timed(lowered: Any) -> tuple[Any, float | None]:
    """Return the compiled function, and the seconds; None if JAX's cache had it."""
    started, read = time.perf_counter(), programs_read()
    compiled = lowered.compile()
    return compiled, time.perf_counter() - started if programs_read() == read else None
