"""Compute the score of a guess that knows nothing of an example: the floor of every table."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lra_bench.contracts import MASKED, RANDOM, Guessable, Task, TokenTask
from lra_bench.data.store import Store

# What is guessed at a task that does not say.
COMMONEST = "always the commonest answer"
COMMONEST_TOKEN = "always the commonest token of the training set"
SHOWN_TOKEN = "the likeliest token of the training set, given the one that is shown"
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
    the frequencies of tokens in the training set, whatever the position. If they are masked, it
    also knows how: a token that is shown where one is predicted may be the right one.
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
    ordinary = np.zeros(len(seen), bool)
    first, last = task.ordinary
    ordinary[first : last + 1] = True
    smoothed = seen + _UNSEEN * (ordinary | (tested > 0))
    expected = smoothed / smoothed.sum()
    actual = tested / max(tested.sum(), 1)
    ways, guess = _ways(task.objective, ordinary)
    accuracy, loss = _score(expected, actual, ways)
    return Chance(accuracy, guess, loss, math.log(last + 1 - first))


def _ways(objective: str, ordinary: np.ndarray) -> tuple[Float[np.ndarray, "v w"], str]:
    """Return how likely it is that a token is shown in each of w ways, and the best guess."""
    count = len(ordinary)
    if objective == "next":
        return np.ones((count, 1)), COMMONEST_TOKEN
    masked = np.full((count, 1), MASKED)
    random = RANDOM * np.tile(ordinary / ordinary.sum(), (count, 1))
    kept = (1 - MASKED - RANDOM) * np.eye(count)
    return np.hstack([masked, random + kept]), SHOWN_TOKEN


def _score(
    expected: Float[np.ndarray, " v"],
    actual: Float[np.ndarray, " v"],
    ways: Float[np.ndarray, "v w"],
) -> tuple[float, float]:
    """Return accuracy and cross-entropy of Bayes' rule, given the way in which a token is shown.

    Args:
        expected: frequencies of the tokens that the guess assumes.
        actual: those that it is tested on.
        ways: probability of each way for each token.
    """
    joint = expected[:, None] * ways
    happens = actual[:, None] * ways
    guesses = joint.argmax(0)
    accuracy = happens[guesses, np.arange(len(guesses))].sum()
    given = joint / np.maximum(joint.sum(0), np.finfo(float).tiny)
    used = happens > 0
    return float(accuracy), float(-(happens[used] * np.log(given[used])).sum())
