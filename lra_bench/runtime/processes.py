"""What the processes of one run tell each other."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from lra_bench.errors import RunError, UsageError
from lra_bench.faults import one_line

T = TypeVar("T")

_KINDS: dict[str, type[Exception]] = {"UsageError": UsageError, "RunError": RunError}


class Group:
    """The processes of one run; without arguments this one alone, which tells nobody anything.

    Methods are called by all processes, at the same place of the run, and wait for each other.

    Attributes:
        size, index: how many processes there are, and which of them this is.
        failure: what all of them know to have failed; after any other failure the rest wait for
            what this process won't do any more.
    """

    def __init__(self, size: int = 1, index: int = 0) -> None:
        self.size, self.index = size, index
        self.failure: Exception | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reads and writes the run's folder."""
        return self.index == 0

    def knows(self, error: BaseException) -> bool:
        """Whether all processes have failed by it."""
        return self.size == 1 or (
            self.failure is not None and self.failure in (error, error.__cause__)
        )

    def on_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in process 0, which alone calls it; something for JSON.

        Raises:
            UsageError, RunError: in every process, where `make` raises it.
        """
        if self.size == 1:
            return make()
        value: Any = None
        error: Exception | None = None
        if self.is_first:
            value, error = _outcome(make)
        told, kind, text = self._told_by_first([value, *_described(error)])
        if text is not None:
            self.failure = error or _KINDS.get(kind, RunError)(text)
            raise self.failure
        return value if self.is_first else told

    def together(self, make: Callable[[], T]) -> T:
        """What `make` returns here, once it has returned in every process.

        Raises:
            RunError: in every process, where it fails in any; there it is what `make` raised.
        """
        if self.size == 1:
            return make()
        value, error = _outcome(make)
        failed = np.flatnonzero(self._gathered(error is not None))
        if failed.size:
            self.failure = error or RunError(f"process {failed[0]} failed, see what it says")
            raise self.failure
        return value

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        return flag if self.size == 1 else bool(self._gathered(flag).any())

    def arrays_of_first(
        self, make: Callable[[], list[np.ndarray]], like: Sequence[Any]
    ) -> list[np.ndarray]:
        """The arrays that `make` returns in process 0, bit for bit; `like` tells their shapes.

        Raises:
            UsageError, RunError: in every process, where `make` raises it.
        """
        if self.size == 1:
            return make()
        made = [np.zeros(x.shape, x.dtype) for x in like]
        self.on_first(lambda: made.__setitem__(slice(None), make()))
        return _broadcast(made)

    def _told_by_first(self, value: Any) -> Any:
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        (length,) = _broadcast([np.array([text.size])])
        room = text if self.is_first else np.zeros(int(length[0]), np.uint8)
        return json.loads(_broadcast([room])[0].tobytes())

    def _gathered(self, flag: bool) -> np.ndarray:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(np.array(flag))


def _broadcast(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Those of process 0; the others' give shapes and types."""
    from jax.experimental import multihost_utils

    # As bytes: what is sent is a sum with the others' zeros, which would lose a minus zero.
    raw = [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in arrays]
    sent = multihost_utils.broadcast_one_to_all(raw)
    return [
        np.asarray(found).view(x.dtype).reshape(x.shape)
        for found, x in zip(sent, arrays, strict=True)
    ]


def _outcome(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What `make` returns, and what it raises."""
    try:
        return make(), None
    except Exception as error:
        return None, error


def _described(error: Exception | None) -> tuple[str | None, str | None]:
    if error is None:
        return None, None
    kind = type(error).__name__
    return kind, str(error) if kind in _KINDS else f"process 0: {one_line(error)}"
