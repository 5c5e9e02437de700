"""Batches as a pure function of (seed, step), and a thread that prepares them ahead."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class Batches:
    """The training order: epoch after epoch, each a new permutation of all examples.

    Batch `step` holds the examples `step * size` to `(step + 1) * size - 1` of that endless
    sequence, so none is dropped where an epoch ends inside a batch, and nothing but the step
    is needed to go on.
    """

    def __init__(self, examples: int, size: int, seed: int) -> None:
        self.examples = examples
        self.size = size
        self.seed = seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def indices(self, step: int) -> np.ndarray:
        """The examples of batch `step`, int64 (size,)."""
        place = np.arange(step * self.size, (step + 1) * self.size)
        epochs, rows = np.divmod(place, self.examples)
        parts = [self._permutation(int(e))[rows[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._order = epoch, rng.permutation(self.examples)
        return self._order


def padded_batches(examples: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(indices, weights) of every example in order; the last batch is filled up with weight 0."""
    for start in range(0, examples, size):
        place = np.arange(start, start + size)
        yield np.minimum(place, examples - 1), (place < examples).astype(np.float32)


class Prefetch(Generic[Item]):
    """Runs `make(step)` for the steps from `first` on, a few ahead, in a thread of its own."""

    def __init__(self, make: Callable[[int], Item], first: int, ahead: int = 2) -> None:
        self._queue: queue.Queue[Item | BaseException] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make, first), daemon=True)
        self._thread.start()

    def _run(self, make: Callable[[int], Item], step: int) -> None:
        while not self._stopped.is_set():
            try:
                item = make(step)
            except BaseException as error:  # handed to the reader, who raises it
                item = error
            self._put(item)
            step += 1

    def _put(self, item: Item | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def get(self) -> Item:
        """The next item; raises what making it raised."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()
