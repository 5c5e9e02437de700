"""Checks of values that come from JSON files which anybody may have written."""

from collections.abc import Callable
from typing import Any

# No measurement is as large, nor its inverse; products and ratios of smaller ones are finite.
_LARGEST = 1e100


def is_number(value: Any) -> bool:
    """Return whether a value is a number between -1e100 and 1e100."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def is_share(value: Any) -> bool:
    """Return whether a value is a number in [0, 1]."""
    return is_number(value) and 0 <= value <= 1


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number from 0 on that 64 bits can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number from 1 on that 64 bits can hold."""
    return is_whole(value) and value > 0


def is_positive(value: Any) -> bool:
    """Return whether a value is a number between 1e-100 and 1e100."""
    return is_number(value) and value >= 1 / _LARGEST


def is_text(value: Any) -> bool:
    """Return whether a value is text."""
    return isinstance(value, str)


def or_none(valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a check that also allows None."""
    return lambda value: value is None or valid(value)


def kept(value: Any, valid: Callable[[Any], bool]) -> Any:
    """Return a value if it is valid, else None."""
    return value if valid(value) else None


def group(value: Any) -> dict[str, Any]:
    """Return a JSON object, or {} for any other value."""
    return value if isinstance(value, dict) else {}
