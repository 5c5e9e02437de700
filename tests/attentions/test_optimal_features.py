"""Optimal random features: no bias, the variance of the closed forms, the least of it."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_features import optimal_a, second_moment

from lra_bench.attentions._favor import optimal
from lra_bench.attentions._favor.projections import iid_gaussian
from lra_bench.attentions._favor.roots import square_roots

DIM, PAIRS, DRAWS = 3, 4, 200_000


@functools.cache
def vectors():
    """Some x and y, whose elements differ in size and are correlated."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((2, DIM, DIM)) * 0.4
    x, y = rng.standard_normal((2, PAIRS, DIM))
    return x @ mixed[0] + 0.2, y @ mixed[1]


@functools.cache
def moments():
    q, k = (np.float32(x * DIM**0.25)[None, :, None] for x in vectors())
    return jax.jit(optimal.Moments.of)(q, k, np.ones((1, PAIRS), bool))


def favor_plus():
    return np.eye(DIM), np.eye(DIM), np.eye(DIM)


@functools.cache
def favor_plus_plus():
    b = np.sqrt(np.asarray(optimal.optimal_square(moments().size_of_sum))[0, 0]) * np.eye(DIM)
    return b, np.eye(DIM), np.eye(DIM)


@functools.cache
def sderf():
    return np.asarray(optimal.optimal_matrix(moments().of_sum))[0, 0], np.eye(DIM), np.eye(DIM)


def transformed(balance):
    found = moments()
    of_x, of_y = balance(found.xx, found.yy)
    size = found.transformed(of_x, of_y).size_of_sum
    b = np.sqrt(np.asarray(optimal.optimal_square(size))[0, 0]) * np.eye(DIM)
    return b, *(np.asarray(x)[0, 0] for x in (of_x, of_y))


@functools.cache
def aderf():
    return transformed(optimal.balance)


@functools.cache
def saderf():
    return transformed(optimal.balance_axes)


ESTIMATORS = (favor_plus, favor_plus_plus, sderf, aderf, saderf)


@pytest.fixture(params=ESTIMATORS, ids=lambda make: make.__name__)
def estimator(request):
    """B of the rows, and the matrices that x and y are multiplied by before."""
    return request.param()


def test_estimates_have_no_bias_and_the_variance_of_the_closed_form(estimator):
    """Each pair's estimates of exp(x^T y), one for each w."""
    b, of_x, of_y = estimator
    x, y = vectors()
    drawn = iid_gaussian(jax.random.key(0), DRAWS, DIM)
    rows = optimal.Rows.of(drawn, jnp.asarray(b, jnp.float32))
    features = jax.jit(lambda x: optimal.exponential_features(x * DIM**0.25, rows).value())
    phi_x, phi_y = (np.asarray(features(np.float32(z)), np.float64) for z in (x @ of_x, y @ of_y))
    estimates = np.linalg.det(b) * phi_x * phi_y
    exact = np.exp(np.sum(x * y, axis=1))
    errors = np.square(estimates - exact[:, None])
    a = (np.eye(DIM) - b @ b) / 4
    for pair in range(PAIRS):
        second = second_moment(a, b @ of_x, b @ of_y, x[pair], y[pair])
        for found, expected in ((estimates, exact[pair]), (errors, second - exact[pair] ** 2)):
            standard_error = found[pair].std() / np.sqrt(len(drawn))
            assert abs(found[pair].mean() - expected) < 4 * standard_error


def mean_logarithm(a, b_x, b_y):
    """The mean over all pairs of the logarithm of E[phi(x)^2 phi(y)^2], which is minimised."""
    pairs = itertools.product(*vectors())
    return np.mean([np.log(second_moment(a, b_x, b_y, x, y)) for x, y in pairs])


def test_estimators_come_in_the_order_of_their_freedom():
    """A richer family has a smaller minimum: FAVOR+, FAVOR++, SADERF, ADERF; and SDERF."""
    figures = {}
    for make in ESTIMATORS:
        b, of_x, of_y = make()
        figures[make] = mean_logarithm((np.eye(DIM) - b @ b) / 4, b @ of_x, b @ of_y)
    order = [figures[make] for make in (aderf, saderf, favor_plus_plus, favor_plus)]
    assert order == sorted(order)
    assert figures[sderf] < figures[favor_plus_plus]


@pytest.mark.parametrize("make", [favor_plus_plus, sderf, aderf])
def test_no_other_parameters_of_the_family_do_better(make):
    """Small changes in every direction that the family allows."""
    b, of_x, of_y = make()
    least = mean_logarithm((np.eye(DIM) - b @ b) / 4, b @ of_x, b @ of_y)
    rng = np.random.default_rng(1)
    for step in (0.03, -0.03):
        for _ in range(5):
            change = rng.standard_normal((DIM, DIM))
            of_b = np.eye(DIM) if make is not sderf else (change + change.T) / 2
            other = b + step * of_b
            of_both = np.eye(DIM) + step * change if make is aderf else np.eye(DIM)
            changed = other @ of_both @ of_x, other @ np.linalg.inv(of_both).T @ of_y
            assert mean_logarithm((np.eye(DIM) - other @ other) / 4, *changed) > least


def test_one_dimension_has_the_a_of_the_paper():
    sizes = np.array([0.0, 1e-3, 0.5, 4.0, 1e3])
    square = jax.jit(optimal.optimal_square)(sizes.astype(np.float32))
    np.testing.assert_allclose((1 - np.asarray(square)) / 4, optimal_a(sizes), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
def test_square_roots_are_those_of_eigenvalues(condition):
    values = condition ** np.linspace(0, 1, 8)
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    root, inverse = jax.jit(square_roots)(np.float32((vectors * values) @ vectors.T))
    np.testing.assert_allclose(
        root, (vectors * values**0.5) @ vectors.T, atol=1e-5 * condition**0.5
    )
    # float32 itself has lost the smallest eigenvalue's digits by 1e-7 times the condition.
    np.testing.assert_allclose(
        inverse, (vectors * values**-0.5) @ vectors.T, atol=1e-5 + 1e-6 * condition
    )


@pytest.mark.parametrize("dim", [8, 32, 64])
def test_singular_moments_are_balanced(dim):
    """Equal moments need no balance, of whatever rank they are."""
    x = np.random.default_rng(dim).standard_normal((20, dim)).astype(np.float32)
    moments = x[:, :, None] * x[:, None, :]
    of_x, of_y = jax.jit(optimal.balance)(moments, moments)
    np.testing.assert_allclose(of_x, np.broadcast_to(np.eye(dim), of_x.shape), atol=0.02)
    np.testing.assert_allclose(of_y, np.broadcast_to(np.eye(dim), of_y.shape), atol=0.02)


def test_moments_are_those_of_real_tokens_alone():
    q, k = np.random.default_rng(0).standard_normal((2, 2, 9, 2, DIM)).astype(np.float32)
    mask = np.ones((2, 9), bool)
    mask[1, [0, 4, 8]] = False
    soiled = (np.where(mask[:, :, None, None], x, np.nan) for x in (q, k))
    found = jax.jit(optimal.Moments.of)(*soiled, mask)
    x, y = (q[1, mask[1], 1] * DIM**-0.25, k[1, mask[1], 1] * DIM**-0.25)
    sums = [a + b for a in x for b in y]
    np.testing.assert_allclose(found.of_sum[1, 1], np.mean([np.outer(z, z) for z in sums], 0), 1e-5)
    soiled = (np.where(mask[:, :, None, None], x, np.nan) for x in (q, k))
    size = jax.jit(optimal.mean_size_of_sum)(*soiled, mask)
    np.testing.assert_allclose(size[1, 1], np.mean(np.square(sums)), 1e-5)
    np.testing.assert_allclose(size, found.size_of_sum, 1e-5)
