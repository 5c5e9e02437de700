"""Make lines fit a width by leaving out parts."""

from collections.abc import Iterable, Sequence

_GAP = 2


def fitted(parts: Sequence[str], shed: Sequence[int], width: int | None) -> list[str]:
    """Return the parts of a line that fit beside each other, with two spaces between.

    Args:
        parts: of the line; empty ones are left out.
        shed: which parts may be left out, the first of these first.
        width: of the line, in characters; None for any.
    """
    kept = {number: part for number, part in enumerate(parts) if part}
    for number in shed:
        if width is None or _width(kept.values()) <= width:
            break
        kept.pop(number, None)
    return list(kept.values())


def _width(parts: Iterable[str]) -> int:
    texts = list(parts)
    return sum(map(len, texts)) + _GAP * (len(texts) - 1)
