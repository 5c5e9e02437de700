"""Find the largest length that fits, by doubling and bisection."""

from collections.abc import Callable

# Lengths in tokens; all that are tried are multiples of STEP.
STEP = 64
LONGEST = 2**22
# The search ends when the two lengths are this fraction of the shorter apart.
_FINE = 16


def largest(
    fits: Callable[[int], bool], start: int, good: int = 0, bad: int = 0
) -> tuple[int, int]:
    """Return the largest length found to fit and the smallest found not to; 0 for none.

    The two are at most a sixteenth or `STEP` apart, unless `LONGEST` fits or nothing does.

    Args:
        fits: tells whether a length, in tokens, fits; called once for each length.
        start: the first length to try if nothing is known.
        good: a length known to fit; 0 if none is.
        bad: a length known not to fit; 0 if none is.
    """
    length = max(STEP, start)
    if good and not bad:
        length = min(2 * good, LONGEST)
    elif bad and not good:
        length = bad // 2 // STEP * STEP
    while not (good and bad) and length >= STEP and good < LONGEST:
        if fits(length):
            good, length = length, min(2 * length, LONGEST)
        else:
            bad, length = length, length // 2 // STEP * STEP
    while good and bad and (middle := _between(good, bad)):
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good, bad


def _between(good: int, bad: int) -> int:
    """Return a length in the middle, or 0 if the two are close enough."""
    if bad - good <= max(STEP, good // _FINE):
        return 0
    middle = -(-(good + bad) // (2 * STEP)) * STEP
    return middle if middle < bad else middle - STEP
