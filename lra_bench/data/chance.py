"""Compute the score of a guess that knows nothing of an example: the floor of every table."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lra_bench.contracts import Guessable, Task, TokenTask
from lra_bench.data.store import Store

# What is guessed at a task that does not say.
COMMONEST = "always the commonest answer"
COMMONEST_TOKEN = "always the commonest token of the training set"
# Laplace's rule: a token that training never has would make the loss infinite.
_UNSEEN = 1.0


@dataclass(frozen=True)
class Chance:
    """The accuracy of a guess that needs nothing of what a task tests.

    Attributes:
        accuracy: in [0, 1].
        guess: what is guessed, in words.
        loss: cross-entropy, in nats, of the tokens' frequencies in the training set; None where no
            tokens are predicted.
        uniform: cross-entropy, in nats, of equal chances for all ordinary tokens.
    """

    accuracy: float
    guess: str = COMMONEST
    loss: float | None = None
    uniform: float | None = None


def chance_of(task: Task, store: Store, split: str = "test") -> Chance:
    """Return the chance that the task states, else that of the commonest answer.

    If tokens are predicted, it is the empirical baseline of Appendix C.2 of the Performer paper:
    the frequencies of tokens in the training set, whatever the position.
    """
    if isinstance(task, Guessable):
        return Chance(task.chance(), task.guess)
    if isinstance(task, TokenTask):
        return _of_tokens(task, *(_frequencies(store, name) for name in ("train", split)))
    return Chance(store.splits[split].chance())


def _frequencies(store: Store, split: str) -> Float[np.ndarray, " v"]:
    """Return how often each token is predicted in a split."""
    histogram = store.manifest.splits[split].token_histogram
    assert histogram is not None  # a store of such a task has it
    return np.array(histogram, np.float64)


def _of_tokens(task: TokenTask, seen: np.ndarray, tested: np.ndarray) -> Chance:
    total = max(tested.sum(), 1)
    ordinary = np.zeros(len(seen), bool)
    first, last = task.ordinary
    ordinary[first : last + 1] = True
    smoothed = seen + _UNSEEN * (ordinary | (tested > 0))
    used = tested > 0
    loss = -(tested[used] * np.log(smoothed[used] / smoothed.sum())).sum() / total
    accuracy = tested[seen.argmax()] / total
    return Chance(float(accuracy), COMMONEST_TOKEN, float(loss), math.log(last + 1 - first))
