"""The canary: a linear model on cheap features, which beats chance unless the data are noise."""

import math
from dataclasses import dataclass

import numpy as np

from lra_bench.contracts import Task, TokenTask
from lra_bench.data.store import Split, Store

_TRAIN, _TEST = 2_000, 1_000
_FEWEST = 200
_RIDGE = 10.0
# A canary on noise exceeds chance by this much in 1 of 30,000 checks.
STANDARD_ERRORS = 4


@dataclass(frozen=True)
class Canary:
    """The accuracy of the linear model on examples it was not trained on.

    Attributes:
        accuracy: in [0, 1].
        chance: the accuracy of always predicting the most frequent label, in [0, 1].
        examples: the number of test examples.
    """

    accuracy: float
    chance: float
    examples: int

    @property
    def passes(self) -> bool:
        """Return whether the accuracy exceeds chance by `STANDARD_ERRORS`."""
        error = math.sqrt(self.chance * (1 - self.chance) / self.examples)
        return self.accuracy > self.chance + STANDARD_ERRORS * error


def try_canary(task: Task, store: Store) -> Canary | None:
    """Train on up to 2,000 examples of the train split; test on up to 1,000 of the test split.

    Returns:
        None if there are too few examples, or the task has no features for such data.
    """
    train, test = store.splits["train"], store.splits["test"]
    if min(len(train), len(test)) < _FEWEST or isinstance(task, TokenTask):
        return None
    (x, y), (x_test, y_test) = _sample(task, train, _TRAIN), _sample(task, test, _TEST)
    if not x.shape[1]:
        return None
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-3
    weights, bias = _ridge((x - mean) / scale, np.eye(task.num_classes)[y])
    guesses = np.argmax((x_test - mean) / scale @ weights + bias, axis=1)
    chance = np.bincount(y_test).max() / len(y_test)
    return Canary(float((guesses == y_test).mean()), float(chance), len(y_test))


def _sample(task: Task, split: Split, size: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.sort(np.random.default_rng(0).permutation(len(split))[:size])
    return task.features(np.asarray(split.tokens[rows])), split.labels[rows]


def _ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve a ridge regression in the smaller of n and f: weights (f, classes), bias (classes,)."""
    bias = y.mean(axis=0)
    count, width = x.shape
    if count < width:
        kernel = x @ x.T + _RIDGE * width * np.eye(count)
        return x.T @ np.linalg.solve(kernel, y - bias), bias
    return np.linalg.solve(x.T @ x + _RIDGE * width * np.eye(width), x.T @ (y - bias)), bias
