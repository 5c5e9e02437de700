"""Random projections of FAVOR+ against their distributions, and Theorem 2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from lra_bench.attentions._favor.projections import (
    PROJECTIONS,
    orthogonal_gaussian,
    walsh_hadamard,
)
from lra_bench.verification.subject import DIM


def rows_of(projection, drawn, dim=DIM):
    """What multiplying by it multiplies by."""
    apply = jax.jit(PROJECTIONS[projection].apply)
    return np.asarray(apply(np.eye(dim, dtype=np.float32), drawn), np.float64).T


@functools.cache
def three_blocks(projection):
    draw = PROJECTIONS[projection].draw
    return jax.jit(lambda key: draw(key, 3 * DIM, DIM))(jax.random.key(0))


ORTHOGONAL = pytest.mark.parametrize("projection", ["orthogonal", "givens", "hadamard"])


class TestOrthogonalFeatures:
    @ORTHOGONAL
    def test_blocks_are_orthogonal(self, projection):
        drawn = three_blocks(projection)
        w = rows_of(projection, drawn)
        for block in w.reshape(3, DIM, DIM):
            gram = block @ block.T
            off_diagonal = gram - np.diag(np.diag(gram))
            assert np.abs(off_diagonal).max() < 1e-4

    @ORTHOGONAL
    def test_marginals_are_standard_normal(self, projection):
        """Mean 0, covariance I, and the fourth moment 3 that unit-length rows would lack.

        The fourth moment of Hadamard rows is 0.2 lower in 8 dimensions: they are no Gaussians.
        """
        keys = jax.random.split(jax.random.key(0), 4000)
        one = PROJECTIONS[projection]
        draw = jax.vmap(lambda key: one.apply(jnp.eye(DIM), one.draw(key, DIM, DIM)).T)
        rows = np.asarray(jax.jit(draw)(keys), np.float64).reshape(-1, DIM)
        error = 1 / np.sqrt(len(rows))
        assert np.abs(rows.mean(0)).max() < 4.5 * error
        assert np.abs(np.cov(rows.T) - np.eye(DIM)).max() < 4.5 * np.sqrt(2) * error
        off = 0.3 if projection == "hadamard" else 0
        assert abs((rows**4).mean() - 3) < 4.5 * np.sqrt(96 / rows.size) + off

    @pytest.mark.parametrize("dim", [1, 2, 3])
    @pytest.mark.parametrize("projection", PROJECTIONS)
    def test_few_dimensions_have_standard_normal_marginals_too(self, projection, dim):
        """Each row alone: in one dimension half of them are negative."""
        one, draws = PROJECTIONS[projection], 4000
        keys = jax.random.split(jax.random.key(0), draws)
        draw = jax.vmap(lambda key: one.apply(jnp.eye(dim), one.draw(key, 4, dim)).T[:4])
        rows = np.asarray(jax.jit(draw)(keys), np.float64)
        for row in np.moveaxis(rows, 1, 0):
            assert np.abs(row.mean(0)).max() < 4.5 / np.sqrt(draws)
            covariance = row.T @ row / draws
            assert np.abs(covariance - np.eye(dim)).max() < 4.5 * np.sqrt(2 / draws)

    def test_walsh_hadamard_is_the_matrix(self):
        matrix = scipy.linalg.hadamard(16) / 4
        np.testing.assert_allclose(jax.jit(walsh_hadamard)(np.eye(16)), matrix, atol=1e-6)

    @pytest.mark.parametrize("projection", PROJECTIONS)
    def test_regular_rows_have_length_root_d(self, projection):
        drawn = three_blocks(projection)
        rows = rows_of(projection, PROJECTIONS[projection].regular(drawn))
        np.testing.assert_allclose(np.square(rows).sum(1), DIM, rtol=1e-5)

    def test_a_part_of_a_block_is_drawn_too(self):
        assert orthogonal_gaussian(jax.random.key(0), DIM + 3, DIM).shape == (DIM + 3, DIM)

    def test_variance_is_below_that_of_iid_rows(self):
        """Theorem 2: orthogonal features estimate SM(x, y) with less mean squared error."""
        x, y = np.full(DIM, 0.17), np.linspace(-0.15, 0.25, DIM)
        keys = jax.random.split(jax.random.key(1), 20_000)
        draw = jax.vmap(lambda key: orthogonal_gaussian(key, DIM, DIM))
        iid = jax.vmap(lambda key: jax.random.normal(key, (DIM, DIM)))
        errors = []
        for sample in (draw, iid):
            w = np.asarray(jax.jit(sample)(keys), np.float64)
            estimate = np.exp(w @ (x + y) - (x @ x + y @ y) / 2).mean(-1)
            errors.append(np.square(estimate - np.exp(x @ y)))
        orthogonal, independent = errors
        gap = independent.mean() - orthogonal.mean()
        assert gap > 3 * np.sqrt((independent.var() + orthogonal.var()) / len(keys))
