"""Exceptions that Python drops and reports, since nobody can catch them where they are raised."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def unreported(expected: Callable[[BaseException | None], bool]) -> Iterator[None]:
    """Within the block, say nothing of those that are expected."""
    before = sys.unraisablehook

    def report(dropped: "sys.UnraisableHookArgs") -> None:
        if not expected(dropped.exc_value):
            before(dropped)

    sys.unraisablehook = report
    try:
        yield
    finally:
        sys.unraisablehook = before
