"""The compiled functions of a run, and the batches that they take."""

import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from lra_bench.data.batches import Batches
from lra_bench.data.store import Split, Store
from lra_bench.devices import Devices
from lra_bench.flops import count_flops
from lra_bench.settings import RunSettings
from lra_bench.train import Arrays, Learner, State, Sums, empty_window


class Programs:
    """A learner's functions compiled for some devices.

    Every key comes from the seed and, within the functions, from the step: nothing else is
    random, so that a resumed run equals one that was never stopped.

    Attributes:
        compile_seconds: how long tracing and compiling the training step took.
        flops_per_step: of one training step, loops counted as often as they run.
    """

    def __init__(
        self, learner: Learner, settings: RunSettings, store: Store, devices: Devices
    ) -> None:
        self._replicated, self._by_example = devices.replicated, devices.by_example
        init, dropout, resample = jax.random.split(jax.random.key(settings.seed), 3)
        self._init_key = init
        self._key = jax.device_put(dropout, self._replicated)
        self._resample_key = jax.device_put(resample, self._replicated)
        self._learner = learner
        self._train = store.splits["train"]
        self._batches = Batches(len(self._train), settings.train.batch_size, settings.seed)
        self._init = self._jit(learner.init)
        self._train_step = self._jit(learner.train_step, donate_argnums=0)
        self._eval_step = self._jit(learner.eval_step)
        self._resample = self._jit(learner.resample, donate_argnums=0)
        self.compile_seconds = 0.0
        self.flops_per_step: float | None = None

    def _jit(self, function: Any, **options: Any) -> Any:
        return jax.jit(function, out_shardings=self._replicated, **options)

    def init(self) -> State:
        """The state before the first step."""
        return self._init(self._init_key)

    def compile(self, state: State) -> None:
        """Compile the training step ahead, so that no step is billed for it."""
        started = time.perf_counter()
        lowered = self._train_step.lower(state, *self.train_batch(0), self._key)
        self._train_step = lowered.compile()
        self.compile_seconds = time.perf_counter() - started
        step = self._learner.train_step
        self.flops_per_step = count_flops(step, state, *self.train_batch(0), self._key)

    def train_batch(self, step: int) -> tuple[Array, Array]:
        """Tokens and labels of the batch that update number `step` (from 0) is made on."""
        return self._put(self._train, self._batches.indices(step))

    def train_step(self, state: State, batch: tuple[Array, Array]) -> tuple[State, Array]:
        """The next state and the loss; the state given is used up."""
        return self._train_step(state, *batch, self._key)

    def resample(self, state: State) -> State:
        """Redraw what is sampled, if anything is; the state given is used up."""
        return self._resample(state, self._resample_key) if state.sampled else state

    def eval_step(
        self, state: State, split: Split, indices: np.ndarray, weights: np.ndarray
    ) -> Sums:
        """Weighted sums over these examples."""
        tokens, labels = self._put(split, indices)
        weights = jax.device_put(weights, self._by_example)
        return self._eval_step(state.params, state.sampled, tokens, labels, weights)

    def with_params(self, state: State, params: Arrays) -> State:
        """The state before any step with other parameters; AdamW's begins with zeros for any."""
        return state._replace(params=jax.device_put(params, self._replicated))

    def without_window(self, state: State) -> State:
        """The state with its window of training metrics emptied."""
        return state._replace(window=jax.device_put(empty_window(), self._replicated))

    def _put(self, split: Split, indices: np.ndarray) -> tuple[Array, Array]:
        return (
            jax.device_put(split.tokens[indices], self._by_example),
            jax.device_put(split.labels[indices], self._by_example),
        )
