"""Parse and format bytes and seconds."""

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Parse "16GiB", "500MB" or "1000000" into bytes; "16G" is 16 GiB.

    Raises:
        ValueError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    unit = (match[2] or "").lower()
    decimal = unit and not unit.endswith("i") and text.strip().lower().endswith("b")
    base = 1000 if decimal else 1024
    return round(float(match[1]) * base ** _POWERS.get(unit[:1], 0))


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
