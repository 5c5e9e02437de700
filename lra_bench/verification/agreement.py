"""Compare arrays; if they differ, raise a counter-example that says where, and by how much."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

TOLERANCE = {"float32": 2e-5, "bfloat16": 4e-2}


class Counterexample(AssertionError):
    """A promise is broken; the message says at which token, and by how much."""


def same(
    expected: Any, found: Any, dtype: str, mask: np.ndarray | None = None, what: str = "the output"
) -> None:
    """Check that arrays (b l ...) agree but for rounding, which grows with the largest number.

    Args:
        expected, found: the arrays.
        dtype: in which they were computed; see `TOLERANCE`.
        mask: (b l), the tokens that count; None for all.
        what: the arrays in words, for the message.

    Raises:
        Counterexample: they differ; the message names the token that differs most.
    """
    expected, found = (np.asarray(x, np.float32) for x in (expected, found))
    largest = np.max(np.abs(expected if mask is None else expected[mask]), initial=0)
    tolerance = TOLERANCE[dtype]
    agree(expected, found, tolerance, tolerance * max(1.0, float(largest)), mask, what)


def agree(
    expected: np.ndarray,
    found: np.ndarray,
    relative: float,
    absolute: float,
    mask: np.ndarray | None,
    what: str,
) -> None:
    """Raise Counterexample if arrays differ by more than absolute + relative |found|."""
    wrong = ~np.isclose(expected, found, relative, absolute, equal_nan=True)
    if mask is not None:
        wrong &= mask.reshape(*mask.shape, *(1,) * (wrong.ndim - mask.ndim))
    if not wrong.any():
        return
    with np.errstate(invalid="ignore"):
        off = np.where(wrong, np.nan_to_num(np.abs(expected - found), nan=np.inf), -1)
    at = np.unravel_index(np.argmax(off), off.shape)
    raise Counterexample(
        f"{what} is {found[at]:.6g} instead of {expected[at]:.6g} at {place(at)}: "
        f"off by {off[at]:.2g}, allowed {absolute:.2g}; wrong at {_tokens(wrong)}"
    )


def place(at: Sequence[Any]) -> str:
    """Return an index (b, l, h, d) in words."""
    names = ("example", "token", "head", "feature")
    return ", ".join(f"{name} {index}" for name, index in zip(names, at, strict=False))


def _tokens(wrong: np.ndarray) -> str:
    """Return how many tokens are wrong, in words."""
    tokens = wrong.any(axis=tuple(range(2, wrong.ndim)))
    return f"{tokens.sum():,} of {tokens.size:,} tokens"


def finite(found: np.ndarray, what: str) -> None:
    """Raise Counterexample if a number is not finite."""
    found = found.astype(np.float32)
    if (wrong := ~np.isfinite(found)).any():
        at = np.unravel_index(np.argmax(wrong), wrong.shape)
        raise Counterexample(
            f"{what} is {found[at]} at {place(at)}; not finite at {_tokens(wrong)}"
        )


def fail(text: str) -> NoReturn:
    """Raise Counterexample with this text."""
    raise Counterexample(text)
