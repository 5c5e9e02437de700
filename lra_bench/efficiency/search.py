"""The largest length that fits, by doubling and bisection."""

from collections.abc import Callable

# Lengths that are tried are multiples of this, and of no less than a sixteenth of themselves.
STEP = 64
LONGEST = 2**22
_FINE = 16


def largest(fits: Callable[[int], bool], start: int, longest: int = LONGEST) -> tuple[int, int]:
    """The largest length found to fit, or 0, and the smallest found not to, or 0.

    Which are at most a sixteenth apart, but for `STEP`, unless the longest allowed fits.

    Args:
        fits: whether a length does; asked once for each it is asked for.
        start: the first that is tried; if it doesn't fit, shorter ones are.
    """
    good, bad = 0, 0
    length = max(STEP, start)
    while not (good and bad):
        if fits(length):
            good = length
            if length >= longest:
                break
            length = min(2 * length, longest)
        else:
            bad = length
            length = length // 2 // STEP * STEP
            if not length:
                break
    while good and bad and (middle := _between(good, bad)):
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good, bad


def _between(good: int, bad: int) -> int:
    """A length in the middle, or 0 where they are close enough."""
    if bad - good <= max(STEP, good // _FINE):
        return 0
    middle = -(-(good + bad) // (2 * STEP)) * STEP
    return middle if middle < bad else middle - STEP
