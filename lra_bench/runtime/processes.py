"""The exchange of values between the processes of one run."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from lra_bench.errors import RunError, UsageError, one_line

T = TypeVar("T")

_KINDS: dict[str, type[Exception]] = {"UsageError": UsageError, "RunError": RunError}


class Processes:
    """The processes of one run; without arguments, this one process alone.

    All processes call the same methods at the same places of the run, and wait for each other.

    Attributes:
        size: number of processes.
        index: number of this process, from 0 on.
        failure: the failure that all processes know of. After any other failure the others wait for
            a call that this process will not make.
    """

    def __init__(self, size: int = 1, index: int = 0) -> None:
        self.size, self.index = size, index
        self.failure: Exception | None = None

    @property
    def is_first(self) -> bool:
        """Return whether this is process 0, which alone reads and writes the run's folder."""
        return self.index == 0

    def knows(self, error: BaseException) -> bool:
        """Return whether all processes know that the run failed by this error."""
        return self.size == 1 or (
            self.failure is not None and self.failure in (error, error.__cause__)
        )

    def on_first(self, make: Callable[[], T]) -> T:
        """Call `make` in process 0 alone; return in every process the value that it returns there.

        Args:
            make: returns a value that JSON can hold.

        Raises:
            UsageError, RunError: in every process, if `make` raises it.
        """
        if self.size == 1:
            return make()
        value: Any = None
        error: Exception | None = None
        if self.is_first:
            value, error = _outcome(make)
        received, kind, text = self._send_from_first([value, *_described(error)])
        if text is not None:
            self.failure = error or _KINDS.get(kind, RunError)(text)
            raise self.failure
        return value if self.is_first else received

    def together(self, make: Callable[[], T]) -> T:
        """Call `make` in every process; return its value here once it returned in all of them.

        Raises:
            RunError: in every process, if `make` fails in any; where it failed, its own error.
        """
        if self.size == 1:
            return make()
        value, error = _outcome(make)
        failed = np.flatnonzero(self._gather(error is not None))
        if failed.size:
            self.failure = error or RunError(f"process {failed[0]} failed, see what it says")
            raise self.failure
        return value

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        return flag if self.size == 1 else bool(self._gather(flag).any())

    def arrays_of_first(
        self, make: Callable[[], list[np.ndarray]], like: Sequence[Any]
    ) -> list[np.ndarray]:
        """Call `make` in process 0 alone; return in every process the same arrays, bit for bit.

        Args:
            make: returns arrays.
            like: gives their shapes and types.

        Raises:
            UsageError, RunError: in every process, if `make` raises it.
        """
        if self.size == 1:
            return make()
        arrays = [np.zeros(x.shape, x.dtype) for x in like]

        def fill() -> None:
            arrays[:] = make()

        self.on_first(fill)
        return _broadcast(arrays)

    def _send_from_first(self, value: Any) -> Any:
        """Return process 0's value in every process: first its length, then its JSON."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        (length,) = _broadcast([np.array([text.size])])
        buffer = text if self.is_first else np.zeros(int(length[0]), np.uint8)
        return json.loads(_broadcast([buffer])[0].tobytes())

    def _gather(self, flag: bool) -> np.ndarray:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(np.array(flag))


def _broadcast(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return process 0's arrays; those of the other processes give shapes and types."""
    from jax.experimental import multihost_utils

    # As bytes: JAX sends a sum with the zeros of the others, which would lose a minus zero.
    raw = [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in arrays]
    sent = multihost_utils.broadcast_one_to_all(raw)
    return [
        np.asarray(received).view(x.dtype).reshape(x.shape)
        for received, x in zip(sent, arrays, strict=True)
    ]


def _outcome(make: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return the value of `make`, and the error that it raised."""
    try:
        return make(), None
    except Exception as error:
        return None, error


def _described(error: Exception | None) -> tuple[str | None, str | None]:
    """Return the kind and the message of an error, for the other processes."""
    if error is None:
        return None, None
    kind = type(error).__name__
    return kind, str(error) if kind in _KINDS else f"process 0: {one_line(error)}"
