"""Parse and format numbers, bytes and seconds."""

import contextlib
import math
import re
from decimal import Decimal, InvalidOperation

from lra_bench.ranges import is_cut

# The greatest loss in nats that is shown as a perplexity: the largest double is e^709.
GREATEST_LOSS = 700.0

_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:e\d{1,2})?)\s*([kmgt]i?)?b?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)
_SECONDS = {
    **dict.fromkeys(("ms",), 1e-3),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_MOST_DIGITS = 18


def parse_whole(text: str) -> int:
    """Parse a whole number: "1000", "1e3", "1_000", "1000.0".

    "1k" is refused: of tokens it may mean 1,000 or 1,024. "024" is refused: in a list, it is what
    follows the comma of "1,024".

    Raises:
        ValueError: the text is no whole number, or has more than 18 digits.
    """
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(text) from None
    if is_cut(text) or not number.is_finite() or number.adjusted() >= _MOST_DIGITS:
        raise ValueError(text)
    if number != int(number):
        raise ValueError(text)
    return int(number)


def parse_number(text: str) -> float:
    """Parse a finite number: "0.5", "1e-3"; "024" is refused, as by `parse_whole`.

    Raises:
        ValueError: the text is no finite number.
    """
    number = float(text)
    if is_cut(text) or not math.isfinite(number):
        raise ValueError(text)
    return number


def parse_duration(text: str) -> float:
    """Parse "90", "90s", "1.5h", "1h 30min" or "2d" into seconds.

    Raises:
        ValueError: the text is no duration.
    """
    with contextlib.suppress(ValueError):
        return parse_number(text)
    parts = _DURATION.findall(text.strip())
    if (
        not parts
        or _DURATION.sub("", text.strip())
        or any(unit.lower() not in _SECONDS for _, unit in parts)
    ):
        raise ValueError(text)
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def parse_size(text: str) -> int:
    """Parse "16GiB", "500MB", "1000000" or "1e6" into bytes; "16G" is 16 GiB.

    Raises:
        ValueError: the text is no size, or one beyond all bounds.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    unit = (match[2] or "").lower()
    decimal = unit and not unit.endswith("i") and text.strip().lower().endswith("b")
    base = 1000 if decimal else 1024
    size = float(match[1]) * base ** _POWERS.get(unit[:1], 0)
    if not math.isfinite(size):
        raise ValueError(text)
    return round(size)


def size_text(value: float) -> str:
    """Format bytes, such as "45.2 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def time_text(seconds: float) -> str:
    """Format seconds with three digits, such as "12.3 ms"."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def duration(seconds: float) -> str:
    """Format seconds roughly, such as "40 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"
