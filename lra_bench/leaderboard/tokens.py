"""The columns of tasks that predict tokens: perplexity or bits, and held-out examples."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lra_bench.contracts import InBits
from lra_bench.display.units import GREATEST_LOSS
from lra_bench.leaderboard.results import Result
from lra_bench.records.record import Record, Score
from lra_bench.registry import TASKS

Part = Callable[[Record], Score | None]


@dataclass(frozen=True)
class Measure:
    """A number that is made of a loss or of an accuracy.

    Attributes:
        title: its name, such as "perplexity".
        of_loss: makes it of a cross-entropy in nats; None if it is made of an accuracy.
        digits: after the point.
    """

    title: str
    of_loss: Callable[[float], float] | None
    digits: int

    def of(self, score: Score | None) -> float | None:
        """Return the number of a score; None if the score does not tell."""
        if score is None:
            return None
        if self.of_loss is None:
            return 100 * score.accuracy
        return self.of_known(score.loss)

    def of_known(self, loss: float | None) -> float | None:
        """Return the number of a loss; None if there is none, or it is beyond all bounds."""
        if loss is None or self.of_loss is None or loss > GREATEST_LOSS:
            return None
        return self.of_loss(loss)

    def text(self, mean: float, sd: float | None = None) -> str:
        """Return a mean and its spread, such as "12.34 ± 0.05"."""
        spread = "" if sd is None else f" ± {sd:.{self.digits}f}"
        return f"{mean:.{self.digits}f}{spread}"


_ACCURACY = Measure("%", None, 1)
_PERPLEXITY = Measure("perplexity", math.exp, 2)


@dataclass(frozen=True)
class TokenColumn:
    """A column beside the accuracy of a task.

    Attributes:
        title: such as "protein perplexity".
        measure: what it shows.
        part: of a record: the score of the test set, or that of held-out examples.
        chance, uniform: what the empirical baseline and equal chances give, as text; "" if unknown.
    """

    title: str
    measure: Measure
    part: Part
    chance: str
    uniform: str

    def of(self, result: Result) -> tuple[float, float | None] | None:
        """Return mean and standard deviation over seeds; None if no seed has the number."""
        scores = [self.part(run) for run in result.finished.values()]
        values = [x for score in scores if (x := self.measure.of(score)) is not None]
        if not values:
            return None
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    def text(self, result: Result | None) -> str:
        """Return the entry of a result; "" if there is none."""
        found = None if result is None else self.of(result)
        return "" if found is None else self.measure.text(*found)


def columns(task: str, results: Sequence[Result]) -> list[TokenColumn]:
    """Return the columns beside the accuracy of a task: none unless it predicts tokens.

    A task of any kind has a column for held-out examples if its runs were tested on such.

    Args:
        task: name of the task.
        results: those on this task.
    """
    runs = [run for result in results for run in result.runs]
    of_loss = [measure(task)] if any(run.chance_loss is not None for run in runs) else []
    found = [_column(f"{task} {each.title}", each, _test, runs) for each in of_loss]
    if any(run.held_out is not None for run in runs):
        titled = [_ACCURACY, *of_loss]
        found += [_column(f"{task} held-out {x.title}", x, _held_out, []) for x in titled]
    return found


def _test(run: Record) -> Score | None:
    return run.test


def _held_out(run: Record) -> Score | None:
    return run.held_out


def _column(title: str, measure: Measure, part: Part, runs: Sequence[Record]) -> TokenColumn:
    known = [(run.chance_loss, run.uniform_loss) for run in runs if run.chance_loss is not None]
    values = map(measure.of_known, known[0] if known else (None, None))
    chance, uniform = ("" if value is None else measure.text(value) for value in values)
    return TokenColumn(title, measure, part, chance, uniform)


def measure(task: str) -> Measure:
    """Return what is shown of the loss of a task: bits if it counts them, else perplexity."""
    entry = TASKS.find(task)
    target = None if entry is None else entry.target
    unit = target.bits_per if isinstance(target, InBits) else None
    return _PERPLEXITY if unit is None else Measure(f"bits/{unit}", lambda x: x / math.log(2), 3)


def uniform_accuracy(results: Sequence[Result]) -> float | None:
    """Return the accuracy of equal chances for all ordinary tokens; None if none are predicted."""
    losses = [run.uniform_loss for result in results for run in result.runs]
    known = [loss for loss in losses if loss is not None]
    return math.exp(-known[0]) if known else None


def notes(results: Sequence[Result]) -> str:
    """Return the sentences on the columns and rows of such tasks; "" if there are none."""
    runs = [run for result in results for run in result.runs]
    sentences = []
    if any(run.chance_loss is not None for run in runs):
        sentences.append(
            "Where tokens are predicted: perplexity is exp(test loss) and bits are test loss / "
            "ln 2, over all predicted tokens; the lower, the better; chance is the empirical "
            "baseline, the frequencies of tokens in the training set; uniform gives all tokens "
            "equal chances (Appendix C.2 of arXiv:2009.14794). Where they are masked, chance also "
            "uses that some are shown."
        )
    if any(run.held_out is not None for run in runs):
        sentences.append("Held-out: examples of kinds that are in no other split.")
    return " ".join(sentences)
