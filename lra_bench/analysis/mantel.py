"""The correlation of two symmetric matrices, tested by permutations: Mantel's test."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats


class Correlation(NamedTuple):
    """A correlation over all pairs i < j.

    Attributes:
        value: in [-1, 1]; NaN if all pairs of a matrix are equal.
        p: the share of permutations with as large an absolute value, both sides.
    """

    value: float
    p: float


def mantel(
    one: Float[np.ndarray, "n n"],
    other: Float[np.ndarray, "n n"],
    permutations: int,
    seed: int,
    *,
    ranks: bool = False,
) -> Correlation:
    """Compute Pearson's correlation of two symmetric matrices over the n (n - 1) / 2 pairs.

    Pairs that share a row are not independent. Hence each permutation renames the rows and the
    columns of a matrix together: Mantel 1967, Cancer Research 27(2), 209-220. The matrices as they
    are count as one of the permutations, so p is at least 1 / (permutations + 1).

    Args:
        one: to be permuted; only its upper triangle is read.
        other: to be compared with; only its upper triangle is read.
        permutations: how many to draw.
        seed: of the permutations.
        ranks: replace the values of each matrix by their ranks: Spearman's correlation.
    """
    a, b = (_standardised(matrix, ranks=ranks) for matrix in (one, other))
    rng, names = np.random.default_rng(seed), np.arange(len(a))
    renamed = rng.permuted(np.tile(names, (permutations, 1)), axis=1)
    i, j = np.triu_indices(len(a), 1)
    value = np.mean(a[i, j] * b[i, j])
    drawn = np.mean(a[renamed[:, i], renamed[:, j]] * b[i, j], axis=1)
    # Permutations that change nothing may differ by rounding.
    as_large = np.sum(np.abs(drawn) >= np.abs(value) - 1e-12)
    p = (1 + as_large) / (1 + permutations) if np.isfinite(value) else np.nan
    return Correlation(float(value), float(p))


def _standardised(matrix: Float[np.ndarray, "n n"], *, ranks: bool) -> Float[np.ndarray, "n n"]:
    """Return the symmetric matrix whose pairs have mean 0 and variance 1; NaN if all are equal."""
    pairs = np.triu_indices(len(matrix), 1)
    values = stats.rankdata(matrix[pairs]) if ranks else matrix[pairs]
    spread = np.std(values)
    result = np.zeros(matrix.shape)
    result[pairs] = (values - np.mean(values)) / (spread if spread > 0 else np.nan)
    return result + result.T
