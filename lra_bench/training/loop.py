"""The training loop: steps, logging, validation, checkpoints."""

import time
from contextlib import closing
from dataclasses import dataclass

import jax
from jaxtyping import Array

from lra_bench.data.batches import Prefetch
from lra_bench.display.progress import Advance, Display
from lra_bench.records.answers import packed
from lra_bench.records.metrics import Metrics
from lra_bench.runtime.stopping import Stopped, StopRequest
from lra_bench.settings import Origin, TrainSettings
from lra_bench.training.checkpoint import Checkpoints
from lra_bench.training.evaluator import Diverged, Evaluation, Evaluator
from lra_bench.training.learner import State, Window
from lra_bench.training.programs import Programs


@dataclass(kw_only=True)
class Loop:
    """The steps of one run, from any checkpoint to the last step.

    After each update, as due: write training metrics; validate and write; save. Lines are on disk
    before the checkpoint, so a resumed run repeats none.

    Attributes:
        programs: the compiled functions.
        settings: of the training.
        checkpoints: where states are saved.
        metrics: where lines are written; None in all processes but the first.
        display: where people see how far the run is.
        stop: is asked before each step.
        evaluator: validates and tests; None to train only, without validation and checkpoints.
        origin: the checkpoint of another run whose parameters this run starts with.
    """

    programs: Programs
    settings: TrainSettings
    checkpoints: Checkpoints
    metrics: Metrics | None
    display: Display
    stop: StopRequest
    evaluator: Evaluator | None
    origin: Origin | None = None
    # Of the steps since the last training line.
    _seconds: float = 0.0
    _timed_steps: int = 0
    _trained: tuple[str, ...] = ()  # the last training line, in parts
    _pending: Array | None = None

    def fit(self, state: State) -> State:
        """Train to the last step.

        Raises:
            Stopped: on request, after saving the state.
            Diverged: a loss is not finite.
        """
        step = int(state.step)
        saved = self.checkpoints.latest() == step and self.checkpoints.evaluated(step)
        batches = Prefetch(self.programs.train_batch, step)
        with closing(batches), self.display.bar("training", self.settings.num_steps, step) as bar:
            try:
                if self.origin is not None and step == 0 and not saved:
                    self._evaluate_origin(state, self.origin, bar)
                while True:
                    if self._due(step, self.settings.eval_every) and not saved:
                        self._settle()
                        self._validate(state, step, bar)
                    if step == self.settings.num_steps:
                        return state
                    if self.stop.exchanges:
                        self._settle()
                    if self.stop.agreed():
                        raise Stopped(step)
                    state = self._advance(state, step, batches)
                    step, saved = step + 1, False
                    if self._due(step, self.settings.log_every):
                        state = self._log(state, step)
                    bar(step, "  ".join(" ".join(part.split()) for part in self._trained))
            except Stopped:
                if self.checkpoints.latest() != step:
                    self._save(state)
                raise

    def evaluate(self, state: State, split: str) -> None:
        """Evaluate a trained state on every example of a split and write its line.

        Args:
            state: to evaluate.
            split: "test", or `HELD_OUT`; or "validation", if the line of its validation is lost.

        Raises:
            Stopped: on request; the checkpoints hold all that is needed to go on.
        """
        assert self.evaluator is not None
        label = "validating" if split == "validation" else "testing"
        with self.display.bar(label, self.evaluator.count(split)) as bar:
            result = self.evaluator.evaluate(state, split, bar)
        self._write(int(state.step), split, result)

    def _write(self, step: int, split: str, result: Evaluation) -> None:
        if self.metrics is not None:
            tested = split != "validation"
            answers = packed(result.right, result.answers) if tested else None
            figures = (result.loss, result.accuracy, result.seconds)
            self.metrics.write(step, split, *figures, answers)

    def _save(self, state: State, accuracy: float | None = None) -> None:
        """Save the state with the lines so far, from which a damaged file can be restored."""
        early = int(state.step) < self.settings.select_after
        lines = "" if self.metrics is None else self.metrics.text
        self.checkpoints.save(state, accuracy, lines, early=early)

    def _evaluate_origin(self, state: State, origin: Origin, bar: Advance) -> None:
        """Validate and test another run's parameters; they may become the best checkpoint.

        Both are done before a line is written: a stop between them would write lines twice.
        """
        assert self.evaluator is not None
        bar(0, "validating and testing")
        splits = ("validation", "test")
        results = {split: self.evaluator.evaluate(state, split) for split in splits}
        for split, result in results.items():
            self._write(0, split, result)
        accuracy = results["validation"].accuracy
        self._save(state, accuracy)
        self.display.line(
            f"starting from {origin.attention} at step {origin.step} of {origin.path}: "
            f"validation accuracy {accuracy:.1%} before any step"
        )

    def _due(self, step: int, every: int) -> bool:
        return step > 0 and (step % every == 0 or step == self.settings.num_steps)

    def _advance(self, state: State, step: int, batches: Prefetch[tuple[Array, Array]]) -> State:
        """Make one update; wait for the one before, so that the host is at most one step ahead.

        Features are redrawn before the update, not after it: the features that are validated and
        saved are those that were trained.
        """
        if batches.empty:
            self._settle()
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
        """Wait for the last update, so that its time is counted before a wait that is not.

        Such waits are those for the evaluation, for data, and for other processes.
        """
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
        _check(window)
        loss, accuracy = float(window.loss / window.steps), float(window.accuracy / window.steps)
        if self.metrics is not None:
            self.metrics.write(step, "train", loss, accuracy, seconds)
        rate = f"{window.steps / seconds:.1f} steps/s" if seconds else ""
        self._trained = (f"train loss {loss:.3f}", f"accuracy {accuracy:6.1%}", rate)
        self.display.detail("  ".join([f"step {step}", *filter(None, self._trained)]))
        return self.programs.without_window(state)

    def _validate(self, state: State, step: int, bar: Advance) -> None:
        """Validate, write the line, and save the state with its accuracy."""
        if self.evaluator is None:
            return
        bar(step, "validating")
        _check(jax.device_get(state.window))
        result = self.evaluator.evaluate(state, "validation")
        self._write(step, "validation", result)
        self._save(state, result.accuracy)
        validated = (f"validation loss {result.loss:.3f}", f"accuracy {result.accuracy:6.1%}")
        number = f"step {step:>{len(str(self.settings.num_steps))}}"
        # A narrow terminal gets no speed, then no training accuracy, then no training loss.
        self.display.parts([number, *self._trained, *validated], shed=(3, 2, 1))


def _check(window: Window) -> None:
    """Raise Diverged if the loss of a step of the window is not finite."""
    if window.diverged_at >= 0:
        raise Diverged(int(window.diverged_at))
