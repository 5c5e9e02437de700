"""Attention between amino acids, summed over sequences, and the similarities that it tells."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lra_bench.analysis.blosum62 import AMINO_ACIDS
from lra_bench.errors import RunError, UsageError

# With two heads, every correlation over heads is 1 or -1.
FEWEST_HEADS = 3
_ROUNDS, _CLOSE = 1_000, 1e-12


class Tally(NamedTuple):
    """Attention from amino acids (rows) to amino acids (columns), over n layers and h heads.

    Attributes:
        given: what all residues of one give to all residues of the other.
        even: what they would give, were the attention of each residue to all other amino acids
            spread evenly over those that it sees; nothing to its own amino acid.
    """

    given: Float[np.ndarray, "n h g g"]
    even: Float[np.ndarray, "n h g g"]


def tally(
    groups: Float[Array, "b l g"], attention: Float[Array, "b h l g"], *, is_causal: bool
) -> tuple[Float[Array, "h g g"], Float[Array, "h g g"]]:
    """Sum the attention of one layer over tokens and sequences; return `given` and `even`.

    Args:
        groups: 1 where the token is of that amino acid, else 0; all 0 if it is none.
        attention: from each token to all tokens of each amino acid.
        is_causal: whether a token sees only itself and those before it.
    """
    given = jnp.einsum("bla,bhlg->hag", groups, attention)
    others = 1 - groups
    to_others = jnp.einsum("bhlg,blg->bhl", attention, others)
    seen = jnp.cumsum(groups, axis=1) if is_causal else jnp.sum(groups, axis=1, keepdims=True)
    seen = seen * others
    share = seen / jnp.maximum(jnp.sum(seen, axis=-1, keepdims=True), 1)
    return given, jnp.einsum("bla,bhl,blg->hag", groups, to_others, share)


def by_pairs(sums: Tally) -> Float[np.ndarray, "g g"]:
    """Return how many times as much attention two amino acids give each other as expected.

    With S_ab what residues a give to residues b, summed over all layers, heads and sequences, and
    E_ab what would be expected of it, the similarity of a and b is

        (S_ab + S_ba) / (E_ab + E_ba),    E_ab = x_a y_b E'_ab,

    where E' is even attention (`Tally.even`), and the factors x and y are such that the rows and
    columns of E have the same sums as those of S. So it tells neither how frequent the amino acids
    are, nor how much attention one of them gives or gets in all. BLOSUM62 compares exchanges in
    the same way, with frequencies q_ij over p_i p_j. The diagonal is left out of all sums, since
    most attention within an amino acid is that of a residue to itself; it is NaN.

    Raises:
        UsageError: a pair of amino acids is in no sequence.
        RunError: an amino acid gives or gets no attention.
    """
    given, even = (x.sum(axis=(0, 1)) for x in sums)
    given, even = (x - np.diag(np.diag(x)) for x in (given, even))
    _check(given, even)
    expected = _with_margins_of(given, even)
    same = np.diag(np.full(len(given), np.nan))
    return (given + given.T) / (expected + expected.T + same)


def _check(given: Float[np.ndarray, "g g"], even: Float[np.ndarray, "g g"]) -> None:
    """Raise an error if the similarity of a pair can't be told."""
    if not given.any():
        raise RunError("no amino acid gives attention to another one")
    unseen = np.argwhere(np.triu(even + even.T == 0, 1))
    if len(unseen):
        one, other = (AMINO_ACIDS[i] for i in unseen[0])
        raise UsageError(
            f"no sequence holds both {one} and {other} in what is read of it; "
            "read more: --examples, --length"
        )
    silent = np.flatnonzero((given.sum(axis=0) <= 0) | (given.sum(axis=1) <= 0))
    if len(silent):
        raise RunError(f"{AMINO_ACIDS[silent[0]]} gives or gets no attention, or a negative sum")


def _with_margins_of(
    margins: Float[np.ndarray, "g g"], start: Float[np.ndarray, "g g"]
) -> Float[np.ndarray, "g g"]:
    """Return x_a y_b start_ab with the sums of rows and columns of `margins`.

    By iterative proportional fitting: Deming and Stephan 1940, doi:10.1214/aoms/1177731829.
    """
    fitted, rows, columns = start, margins.sum(axis=1), margins.sum(axis=0)
    for _ in range(_ROUNDS):
        fitted = fitted * (columns / fitted.sum(axis=0))
        factors = rows / fitted.sum(axis=1)
        fitted = fitted * factors[:, None]
        if np.abs(factors - 1).max() < _CLOSE:
            break
    return fitted


def by_heads(sums: Tally) -> Float[np.ndarray, "g g"] | None:
    """Return the correlation of what two amino acids get, over all heads: Vig et al. 2020.

    For each head, the share of its attention to residues that goes to each amino acid is computed.
    The similarity of two amino acids is Pearson's correlation of their shares over the heads of
    all layers: arXiv:2006.15222, Section 4 ("Amino acids"). It tells which amino acids the same
    heads look for. The diagonal is NaN. None if there are fewer than `FEWEST_HEADS` heads.
    """
    received = sums.given.sum(axis=2).reshape(-1, sums.given.shape[-1])
    if len(received) < FEWEST_HEADS:
        return None
    shares = received / received.sum(axis=1, keepdims=True)
    shares = shares - shares.mean(axis=0)
    # An amino acid of which all heads get the same share is like none.
    norms = np.maximum(np.linalg.norm(shares, axis=0), 1e-30)
    correlations = shares.T @ shares / np.outer(norms, norms)
    return correlations + np.diag(np.full(len(norms), np.nan))
