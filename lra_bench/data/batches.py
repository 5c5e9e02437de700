"""Make batches as a pure function of (seed, step); prepare them ahead in a thread."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class Batches:
    """Choose the examples of each training step: every epoch is a new permutation of all.

    The epochs form one endless sequence. Batch `step` holds its examples `step * size` to
    `(step + 1) * size - 1`, so no example is dropped where an epoch ends inside a batch, and a
    resumed run needs only the step.
    """

    def __init__(self, examples: int, size: int, seed: int) -> None:
        self.examples = examples
        self.size = size
        self.seed = seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def indices(self, step: int) -> np.ndarray:
        """Return the indices of the examples of batch `step`, int64 (size,)."""
        positions = np.arange(step * self.size, (step + 1) * self.size)
        epochs, rows = np.divmod(positions, self.examples)
        parts = [self._permutation(int(e))[rows[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._order = epoch, rng.permutation(self.examples)
        return self._order


def padded_batches(examples: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices, int64 (size,), and weights, float32 (size,), of all examples in order.

    The last batch is filled with the last example at weight 0; all others have weight 1.
    """
    for start in range(0, examples, size):
        rows = np.arange(start, start + size)
        yield np.minimum(rows, examples - 1), (rows < examples).astype(np.float32)


class Prefetch(Generic[Item]):
    """Run `make(step)` for the steps from `first` on in a thread, up to `ahead` items early."""

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

    @property
    def empty(self) -> bool:
        """Return whether `get` may have to wait."""
        return self._queue.empty()

    def get(self) -> Item:
        """Return the next item, or raise the error that `make` raised."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()
