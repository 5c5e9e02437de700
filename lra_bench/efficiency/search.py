"""The largest length that fits, by doubling and bisection."""

from collections.abc import Callable

# Lengths that are tried are multiples of this, and of no less than a sixteenth of themselves.
STEP = 64
LONGEST = 2**22
_FINE = 16


def largest(
    fits: Callable[[int], bool], start: int, good: int = 0, bad: int = 0
) -> tuple[int, int]:
    """The largest length found to fit, or 0, and the smallest found not to, or 0.

    Which are at most a sixteenth apart, but for `STEP`, unless `LONGEST` fits or nothing does.

    Args:
        fits: whether a length does; asked once for each it is asked for.
        start: the first that is tried, if nothing is known.
        good, bad: what is known to fit, and not to; 0 for nothing.
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
    """A length in the middle, or 0 where they are close enough."""
    if bad - good <= max(STEP, good // _FINE):
        return 0
    middle = -(-(good + bad) // (2 * STEP)) * STEP
    return middle if middle < bad else middle - STEP
