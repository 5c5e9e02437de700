"""Evaluation of a state on every example of a split."""

import math
import time
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Int

from lra_bench.data.batches import padded_batches
from lra_bench.data.store import Store
from lra_bench.display.progress import Advance
from lra_bench.runtime.stopping import Stopped, StopRequest
from lra_bench.settings import TrainSettings
from lra_bench.training.learner import State
from lra_bench.training.programs import Programs


class Diverged(Exception):
    """A loss is not finite.

    Attributes:
        step: the first step whose loss is not finite.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss is not finite from step {step} on")
        self.step = step


@dataclass(frozen=True)
class Evaluation:
    """The result on every example of a split.

    Attributes:
        loss: mean cross-entropy of an answer, in nats.
        right: right answers of each example.
        answers: answers of each example: 1, or the tokens that are scored.
        seconds: how long it took.
    """

    loss: float
    right: Int[np.ndarray, " n"]
    answers: Int[np.ndarray, " n"]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Return the share of right answers, in [0, 1]."""
        return int(self.right.sum()) / max(int(self.answers.sum()), 1)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates states on the splits of a store.

    Attributes:
        programs: the compiled functions.
        store: the data.
        settings: of the training.
        stop: is asked before each batch.
    """

    programs: Programs
    store: Store
    settings: TrainSettings
    stop: StopRequest

    def count(self, split: str) -> int:
        """Return how many examples of a split are evaluated."""
        return self.settings.evaluated(len(self.store.splits[split]))

    def _rows(self, split: str) -> Int[np.ndarray, " n"]:
        """Return which examples of a split are evaluated, evenly spread if they are not all."""
        examples, count = self.store.splits[split], self.count(split)
        if self.settings.eval_examples:
            return np.asarray(examples.spread(count))
        return np.arange(count)

    def evaluate(self, state: State, split: str, bar: Advance | None = None) -> Evaluation:
        """Return the result on a split; each example counts once; see `TrainSettings.evaluated`.

        Args:
            state: the parameters to evaluate.
            split: "validation" or "test".
            bar: is told how many examples are done.

        Raises:
            Stopped: on request.
            Diverged: the loss is not finite.
        """
        started = time.perf_counter()
        rows = self._rows(split)
        examples, count, loss = self.store.splits[split], self.count(split), 0.0
        right, answers, done = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
        for indices, weights in padded_batches(count, self.settings.eval_batch_size):
            if self.stop.agreed():
                raise Stopped(int(state.step))
            batch = jax.device_get(self.programs.eval_step(state, examples, rows[indices], weights))
            loss += float(batch.loss)
            real = weights > 0
            right[indices[real]] = batch.right[: len(real)][real]
            answers[indices[real]] = batch.answers[: len(real)][real]
            done += int(real.sum())
            if bar is not None:
                bar(done, "")
        if not math.isfinite(loss):
            raise Diverged(int(state.step))
        mean = loss / max(int(answers.sum()), 1)
        return Evaluation(mean, right, answers, time.perf_counter() - started)
