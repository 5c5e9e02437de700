"""How long a call takes: repeated until the spread is small or the time is spent."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# A sample lasts at least so long: clocks and their reading are then far below 1 % of it.
_SHORTEST_SAMPLE = 0.02
_LEAST, _MOST = 5, 1_000
# The median's standard error, relative, at which more repeats are not worth their time.
_PRECISE = 0.01
# Of the budget: what else runs on a machine can leave a moment undisturbed, or disturb just that.
_AT_LEAST = 1 / 3
# Of a normal distribution: standard error of the median, in quartile distances over sqrt(n).
_MEDIAN_ERROR = 1.2533 / 1.349
# So many tell a distribution as well as a thousand.
_KEPT = 32


def measure(call: Callable[[], object], first: float, budget: float, clock: str) -> dict[str, Any]:
    """Medians and quartiles of the wall and the CPU seconds of a call, and samples of both.

    The CPU's are those of all threads of this process.

    Args:
        call: warmed up, and done when it returns.
        first: about how long it takes, in seconds.
        budget: seconds to spend; up to three times that where calls are so long that it would
            be fewer than five.
        clock: "wall" or "cpu", by whose spread it ends.
    """
    calls = max(1, math.ceil(_SHORTEST_SAMPLE / max(first, 1e-9)))
    least = max(1, min(_LEAST, int(3 * budget / max(first, 1e-9))))
    samples: dict[str, list[float]] = {"wall": [], "cpu": []}
    started = time.perf_counter()
    while len(samples["wall"]) < _MOST:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        samples["cpu"].append((time.process_time() - cpu) / calls)
        samples["wall"].append((time.perf_counter() - wall) / calls)
        spent = time.perf_counter() - started
        precise = spent >= _AT_LEAST * budget and _is_precise(samples[clock])
        if len(samples["wall"]) >= least and (spent >= budget or precise):
            break
    found = {clock: spread(values) for clock, values in samples.items()}
    kept = {clock: _thinned(values) for clock, values in samples.items()}
    return {"repeats": len(samples["wall"]), "calls_per_repeat": calls, **found, "samples": kept}


def _is_precise(values: list[float]) -> bool:
    found = spread(values)
    error = _MEDIAN_ERROR * (found["q3"] - found["q1"]) / math.sqrt(len(values))
    return len(values) >= _LEAST and error <= _PRECISE * found["median"]


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    if len(values) == 1:
        return dict.fromkeys(("median", "q1", "q3"), values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3}


def pooled(visits: Sequence[Sequence[float]]) -> dict[str, float]:
    """Median and quartiles of all samples; each visit counts alike, however many it has."""
    values = np.concatenate([np.array(visit, float) for visit in visits])
    shares = np.concatenate([np.full(len(visit), 1 / len(visit)) for visit in visits])
    order = np.argsort(values)
    # Each sample stands in the middle of its share of the distribution.
    below = (np.cumsum(shares[order]) - shares[order] / 2) / len(visits)
    q1, median, q3 = np.interp((0.25, 0.5, 0.75), below, values[order]).tolist()
    return {"median": median, "q1": q1, "q3": q3}


def _thinned(values: list[float]) -> list[float]:
    """As many as are kept, of the same distribution, in ascending order and whole nanoseconds."""
    shares = (np.arange(_KEPT) + 0.5) / _KEPT
    kept = sorted(values) if len(values) <= _KEPT else np.quantile(values, shares).tolist()
    return [round(value, 9) for value in kept]
