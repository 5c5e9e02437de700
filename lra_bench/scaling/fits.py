"""Fit growth exponents, and find crossovers and largest lengths. Pure functions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lra_bench.scaling.rows import Measured


@dataclass(frozen=True)
class Fit:
    """The exponent b of y = a L^b.

    Attributes:
        exponent: b.
        half_width: of the 95 % confidence interval of b.
        points: number of lengths that it was fitted to.
    """

    exponent: float
    half_width: float
    points: int

    def __str__(self) -> str:
        return f"{self.exponent:.2f} ± {self.half_width:.2f}"


# Student's t at 0.975 for 1, 2, ... degrees of freedom: NIST/SEMATECH e-Handbook of Statistical
# Methods, 1.3.6.7.2. For more degrees the last value is used: it is on the safe side.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
# Tokens below which constant costs dominate; fewest points of a fit; points where few are long.
_ASYMPTOTIC, _FEWEST, _LONGEST = 2_048, 3, 4


def fit_exponent(lengths: Sequence[float], values: Sequence[float]) -> Fit | None:
    """Fit by least squares in log-log over lengths from 2,048, else over the longest four.

    The confidence interval is that of a slope with independent normal errors of equal variance in
    log(values).

    Args:
        lengths: tokens, in any order, each once.
        values: at these lengths; those that are not positive are left out.

    Returns:
        None for fewer than three points.
    """
    pairs = sorted(pair for pair in zip(lengths, values, strict=True) if pair[1] > 0)
    long = [pair for pair in pairs if pair[0] >= _ASYMPTOTIC]
    chosen = long if len(long) >= _FEWEST else pairs[-_LONGEST:]
    if len(chosen) < _FEWEST:
        return None
    x, y = np.log(np.array(chosen, float)).T
    x, y = x - x.mean(), y - y.mean()
    exponent, freedom = float(x @ y / (x @ x)), len(chosen) - 2
    residuals = y - exponent * x
    error = math.sqrt(residuals @ residuals / freedom / (x @ x))
    return Fit(exponent, _T[min(freedom, len(_T)) - 1] * error, len(chosen))


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; ties share their mean rank.

    Returns:
        None for fewer than three pairs, or where all values of one side are equal.
    """
    if len(one) < _FEWEST or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


@dataclass(frozen=True)
class Crossover:
    """The length from which one thing takes less than another.

    Attributes:
        side: "at" `length`; "below" it, the shortest measured; or "above" it, the longest.
        length: tokens.
    """

    side: Literal["at", "below", "above"]
    length: float

    def __str__(self) -> str:
        length = f"{self.length:,.0f}"
        return length if self.side == "at" else f"{self.side} {length}"


def crossover(
    lengths: Sequence[float], one: Sequence[float], other: Sequence[float]
) -> Crossover | None:
    """Return where `one` falls below `other` for good.

    There log(one / other), linear in the log of the length between two lengths, is 0.

    Args:
        lengths: tokens, ascending.
        one, other: positive values at these lengths.

    Returns:
        None if there is no length.
    """
    if not len(lengths):
        return None
    logs, ratio = np.log(np.array(lengths, float)), np.log(np.array(one) / np.array(other))
    slower = np.flatnonzero(ratio > 0)
    if not len(slower):
        return Crossover("below", lengths[0])
    last = slower[-1]
    if last == len(lengths) - 1:
        return Crossover("above", lengths[-1])
    share = ratio[last] / (ratio[last] - ratio[last + 1])
    return Crossover("at", float(np.exp(logs[last] + share * (logs[last + 1] - logs[last]))))


@dataclass(frozen=True)
class Largest:
    """The largest length that fits.

    Attributes:
        fits: the longest length, in tokens, that ran; None if none did.
        fails: the shortest beyond it that is known not to run; None if none is known.
        reason: why `fails` did not run: "out_of_memory" or "timed_out".
    """

    fits: int | None
    fails: int | None
    reason: str | None

    def __str__(self) -> str:
        if self.fails is None:
            return "" if self.fits is None else f">= {self.fits:,}"
        return self._between(self.fails) + (" (time)" if self.reason == "timed_out" else "")

    def _between(self, fails: int) -> str:
        if self.fits is None:
            return f"< {fails:,}"
        close = fails - self.fits <= self.fits / 16
        return f"{self.fits:,}" if close else f"{self.fits:,} to {fails:,}"


def largest(rows: Iterable[Measured]) -> Largest:
    """Return the largest length that fits, from rows of one attention in one setting.

    A crash tells nothing about it.
    """
    rows = list(rows)
    fits = max((row.length for row in rows if row.ran), default=None)
    reasons = ("out_of_memory", "timed_out")
    beyond = [row for row in rows if row.status in reasons and row.length > (fits or 0)]
    if not beyond:
        return Largest(fits, None, None)
    first = min(beyond, key=lambda row: row.length)
    return Largest(fits, first.length, first.status)
