"""The time of a call: it is repeated until the spread is small or the budget is spent."""

import math
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from lra_bench.efficiency.measurement import CLOCKS, Clock, Samples, Spread, Timing

# Seconds that a sample lasts at least: reading the clocks is then far below 1 % of it.
_SHORTEST_SAMPLE = 0.02
_LEAST, _MOST = 5, 1_000
# The median's relative standard error at which more repeats are not worth their time.
_PRECISE = 0.01
# Spend at least this share of the budget: a quiet or busy moment is not typical.
_AT_LEAST = 1 / 3
# In a normal distribution the standard error of the median is this many quartile distances over
# sqrt(n).
_MEDIAN_ERROR = 1.2533 / 1.349
# This many samples describe a distribution as well as a thousand.
_KEPT = 32


def measure(call: Callable[[], object], first: float, budget: float, clock: Clock) -> Timing:
    """Return the time of a call: medians, quartiles and samples of wall and CPU seconds.

    A sample is the mean over several calls if one call is too short for the clocks.

    Args:
        call: warmed up; it returns when its work is done.
        first: about how many seconds it takes.
        budget: seconds to spend; up to three times that where calls are so long that there would
            be fewer than five.
        clock: the clock whose spread decides when to stop.

    Returns:
        `wall` and `cpu` in seconds of a call, `cpu` of all threads of this process together;
        `repeats` samples were taken, of `calls_per_repeat` calls each; `samples` keeps at most 32.
    """
    calls = max(1, math.ceil(_SHORTEST_SAMPLE / max(first, 1e-9)))
    least = max(1, min(_LEAST, int(3 * budget / max(first, 1e-9))))
    samples: dict[Clock, list[float]] = {clock: [] for clock in CLOCKS}
    started = time.perf_counter()
    while len(samples["wall"]) < _MOST:
        for name, seconds in _sample(call, calls).items():
            samples[name].append(seconds)
        spent = time.perf_counter() - started
        precise = spent >= _AT_LEAST * budget and _is_precise(samples[clock])
        if len(samples["wall"]) >= least and (spent >= budget or precise):
            break
    return _timing(samples, calls)


def _sample(call: Callable[[], object], calls: int) -> dict[Clock, float]:
    """Return the seconds of a call by both clocks, as the mean over `calls` calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    cpu_seconds = (time.process_time() - cpu) / calls
    return {"wall": (time.perf_counter() - wall) / calls, "cpu": cpu_seconds}


def _timing(samples: dict[Clock, list[float]], calls: int) -> Timing:
    return Timing(
        repeats=len(samples["wall"]),
        calls_per_repeat=calls,
        wall=spread(samples["wall"]),
        cpu=spread(samples["cpu"]),
        samples=Samples(_thinned(samples["wall"]), _thinned(samples["cpu"])),
    )


def _is_precise(values: list[float]) -> bool:
    quartiles = spread(values)
    error = _MEDIAN_ERROR * (quartiles.q3 - quartiles.q1) / math.sqrt(len(values))
    return len(values) >= _LEAST and error <= _PRECISE * quartiles.median


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, q1, q3)


def pooled(visits: Sequence[Sequence[float]]) -> Spread:
    """Return median and quartiles of the samples of several visits.

    Each visit counts the same, no matter how many samples it has.
    """
    values = np.concatenate([np.array(visit, float) for visit in visits])
    shares = np.concatenate([np.full(len(visit), 1 / len(visit)) for visit in visits])
    order = np.argsort(values)
    # Each sample stands in the middle of its share of the distribution.
    below = (np.cumsum(shares[order]) - shares[order] / 2) / len(visits)
    q1, median, q3 = np.interp((0.25, 0.5, 0.75), below, values[order]).tolist()
    return Spread(median, q1, q3)


def _thinned(values: list[float]) -> tuple[float, ...]:
    """Return the samples to keep, in ascending order and whole nanoseconds.

    Where there are more than are kept, quantiles stand for the distribution.
    """
    shares = (np.arange(_KEPT) + 0.5) / _KEPT
    kept = sorted(values) if len(values) <= _KEPT else np.quantile(values, shares).tolist()
    return tuple(round(value, 9) for value in kept)
