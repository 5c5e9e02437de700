"""The distribution of a mean whose variance has an estimated and a known part.

The mean has a variance A + E. A is estimated by a with f degrees of freedom, E is known. Then
p = P(|t sqrt(a) + z sqrt(E)| > |mean|), with t of Student's distribution and z of the normal one,
independent of each other (Behrens 1929; Fisher 1935). With E = 0 this is Student's t-test. With
a = 0 it is the normal test. Few degrees of freedom make no test of level alpha wrong more often
than alpha, also where alpha is small; Satterthwaite's approximation does not keep that.

The integral is over q, of the chi-squared distribution with f degrees of freedom, of
2 Phi(-|mean| / sqrt(f a / q + E)). In log q it is smooth and ends fast on both sides, so that a sum
over equal steps is exact for all that a test needs.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri, stdtrit

_STEPS = 160
_BISECTIONS = 30
Numbers = float | Float[np.ndarray, "..."]


def p_value(
    mean: Numbers, estimated: Numbers, freedom: float, known: Numbers
) -> Float[np.ndarray, "..."]:
    """Return the two-sided p-values of means of 0; 1 where mean and variance are 0.

    Args:
        mean: the means that were found.
        estimated: a, the estimated parts of their variances.
        freedom: f, the degrees of freedom of these.
        known: E, the known parts.
    """
    mean, estimated, known = np.broadcast_arrays(mean, estimated, known)
    squares, weights = _nodes(freedom)
    variance = estimated[..., None] / squares + known[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(mean)[..., None] / np.sqrt(variance)
    return 2 * ndtr(-np.nan_to_num(distance, posinf=np.inf)) @ weights


def half_width(estimated: float, freedom: float, known: float, level: float) -> float:
    """Return the half width of the interval of means whose p-value is at least `level`."""
    low, high = 0.0, 2 * _sum_of_widths(estimated, freedom, known, level)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        inside = p_value(middle, estimated, freedom, known) > level
        low, high = (middle, high) if inside else (low, middle)
    return high


def _sum_of_widths(estimated: float, freedom: float, known: float, level: float) -> float:
    """Return the sum of the half widths that either part would have alone."""
    of_estimated = float(stdtrit(freedom, 1 - level / 2)) * math.sqrt(estimated)
    return of_estimated + float(ndtri(1 - level / 2)) * math.sqrt(known)


def _nodes(freedom: float) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return values of q / f, and their shares of the chi-squared distribution."""
    spread = 12 / math.sqrt(freedom)
    logs = np.linspace(-80 / freedom - spread, min(spread, 4.6), _STEPS)
    weights = np.exp(freedom / 2 * (logs - np.exp(logs) + 1))
    return np.exp(logs), weights / weights.sum()
