"""The training loop: steps, logging, evaluation, checkpoints."""

import math
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool

from lra_bench.data.batches import Prefetch, padded_batches
from lra_bench.data.store import Store
from lra_bench.display.progress import Advance, Display
from lra_bench.records.metrics import Metrics
from lra_bench.runtime.stopping import Stopped, StopRequest
from lra_bench.settings import Origin, TrainSettings
from lra_bench.training.checkpoint import Checkpoints
from lra_bench.training.learner import State
from lra_bench.training.programs import Programs


class Diverged(Exception):
    """The loss of this step isn't finite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss is not finite from step {step} on")
        self.step = step


@dataclass(frozen=True)
class Evaluation:
    """The result on every example of a split: the mean loss, and which are right."""

    loss: float
    correct: Bool[np.ndarray, " n"]
    seconds: float

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return int(self.correct.sum()) / len(self.correct)


@dataclass
class Loop:
    """One run: its programs and data, where it writes, whom it tells, who may stop it.

    After an update come, where they are due: the line of training metrics, validation with its
    line, the checkpoint. Whatever is in a checkpoint has
    its lines written, and nothing is in one that a resumed run would do again.
    """

    programs: Programs
    store: Store
    settings: TrainSettings
    checkpoints: Checkpoints
    metrics: Metrics | None  # process 0's
    display: Display
    stop: StopRequest
    origin: Origin | None = None
    _seconds: float = 0.0
    _timed_steps: int = 0
    _remark: str = ""
    _pending: Array | None = None

    def fit(self, state: State) -> State:
        """Train to the last step.

        Raises:
            Stopped: on request, with the state saved.
            Diverged: at a loss that isn't finite.
        """
        step = int(state.step)
        saved = self.checkpoints.latest() == step and self.checkpoints.evaluated(step)
        batches = Prefetch(self.programs.train_batch, step)
        with closing(batches), self.display.bar("training", self.settings.num_steps, step) as bar:
            try:
                if self.origin is not None and step == 0 and not saved:
                    self._before_any_step(state, self.origin, bar)
                while True:
                    if self._due(step, self.settings.eval_every) and not saved:
                        self._settle()
                        self._validate(state, step, bar)
                    if step == self.settings.num_steps:
                        return state
                    if self.stop.agreed():
                        raise Stopped(step)
                    state = self._advance(state, step, batches)
                    step, saved = step + 1, False
                    if self._due(step, self.settings.log_every):
                        state = self._log(state, step)
                    bar(step, self._remark)
            except Stopped:
                if self.checkpoints.latest() != step:
                    self.checkpoints.save(state)
                raise

    def test(self, state: State) -> None:
        """Evaluate on every example of the test split and write its line.

        Raises:
            Stopped: on request; what is saved already is all that is needed to go on.
        """
        with self.display.bar("testing", len(self.store.splits["test"])) as bar:
            result = self._evaluate(state, "test", bar)
        self._write(int(state.step), "test", result)

    def _evaluate(self, state: State, split: str, bar: Advance | None) -> Evaluation:
        """Every example of a split counts once."""
        started = time.perf_counter()
        examples, loss = self.store.splits[split], 0.0
        right, done = np.zeros(len(examples), bool), 0
        for indices, weights in padded_batches(len(examples), self.settings.eval_batch_size):
            if self.stop.agreed():
                raise Stopped(int(state.step))
            found = jax.device_get(self.programs.eval_step(state, examples, indices, weights))
            loss += float(found.loss)
            real = weights > 0
            right[indices[real]] = found.correct[real]
            done += int(real.sum())
            if bar is not None:
                bar(done, "")
        if not math.isfinite(loss):
            raise Diverged(int(state.step))
        seconds = time.perf_counter() - started
        return Evaluation(loss / len(examples), right, seconds)

    def _write(self, step: int, split: str, found: Evaluation) -> None:
        correct = found.correct if split == "test" else None
        self._line(step, split, found.loss, found.accuracy, found.seconds, correct)

    def _line(self, *figures: Any) -> None:
        if self.metrics is not None:
            self.metrics.write(*figures)

    def _before_any_step(self, state: State, origin: Origin, bar: Advance) -> None:
        """Validate and test another run's parameters; a candidate for the best like any other.

        Nothing is written before both are done: a stop between would have it written twice.
        """
        bar(0, "validating and testing")
        found = {split: self._evaluate(state, split, None) for split in ("validation", "test")}
        for split, result in found.items():
            self._write(0, split, result)
        accuracy = found["validation"].accuracy
        self.checkpoints.save(state, accuracy)
        self.display.line(
            f"starting from {origin.attention} at step {origin.step} of {origin.path}: "
            f"validation accuracy {accuracy:.1%} before any step"
        )

    def _due(self, step: int, every: int) -> bool:
        return step > 0 and (step % every == 0 or step == self.settings.num_steps)

    def _advance(self, state: State, step: int, batches: Prefetch[tuple[Array, Array]]) -> State:
        """One update; waits for the one before, so that the host is at most one ahead.

        Features are redrawn before the update, not after: what is validated and saved is what
        was trained.
        """
        batch = batches.get()
        started = time.perf_counter()
        every = self.settings.resample_every
        if every and step > 0 and step % every == 0:
            state = self.programs.resample(state)
        state, loss = self.programs.train_step(state, batch)
        if self._pending is not None:
            self._pending.block_until_ready()
        self._pending = loss
        self._timed_steps += 1
        self._seconds += time.perf_counter() - started
        return state

    def _settle(self) -> None:
        """Wait for the last update, so that its time isn't taken for the evaluation's."""
        if self._pending is not None:
            started = time.perf_counter()
            self._pending.block_until_ready()
            self._pending = None
            self._seconds += time.perf_counter() - started

    def _log(self, state: State, step: int) -> State:
        """Write the line of training metrics and empty the window."""
        self._settle()
        window = jax.device_get(state.window)
        seconds = self._seconds if self._timed_steps == window.steps else None
        self._seconds, self._timed_steps = 0.0, 0
        if window.diverged_at >= 0:
            raise Diverged(int(window.diverged_at))
        loss, accuracy = float(window.loss / window.steps), float(window.accuracy / window.steps)
        self._line(step, "train", loss, accuracy, seconds)
        rate = f"  {window.steps / seconds:.1f} steps/s" if seconds else ""
        self._remark = f"train loss {loss:.3f}  accuracy {accuracy:6.1%}{rate}"
        return self.programs.without_window(state)

    def _validate(self, state: State, step: int, bar: Advance) -> None:
        bar(step, "validating")
        result = self._evaluate(state, "validation", None)
        self._write(step, "validation", result)
        self.checkpoints.save(state, result.accuracy)
        self.display.line(
            f"step {step:>{len(str(self.settings.num_steps))}}  {self._remark}"
            f"  validation loss {result.loss:.3f}  accuracy {result.accuracy:6.1%}"
        )
