"""FAVOR# against the eigenvectors and singular vectors of its paper's theorems."""

import jax
import numpy as np
import pytest
from agreement import check_agreement
from flax import nnx
from random_features import DIM, FEATURES, HEADS, MASK, attention, optimal_a, scaled, tokens

from lra_bench.attentions.favor_sharp import FavorSharp
from lra_bench.contracts import Dims
from lra_bench.verification import contract, subject


def build(**options):
    options = {"num_features": FEATURES, **options}
    return FavorSharp(Dims(HEADS, DIM, 64), **options, rngs=nnx.Rngs(0))


def exponential(rows, a, b, c):
    """exp(w^T A w + w^T B x + x^T C x) for each row w."""
    return lambda x: np.exp(np.einsum("md,de,me->m", rows, a, rows) + rows @ (b @ x) + x @ c @ x)


def sderf(rows, xs, ys, _):
    """Theorem 4.3, in the basis of eigenvectors: its w is Q^T w, which is N(0, I) as well."""
    second = np.mean([np.outer(x + y, x + y) for x in xs for y in ys], axis=0)
    values, vectors = np.linalg.eigh(second)
    a = np.diag(optimal_a(values))
    b = np.sqrt(np.eye(DIM) - 4 * a) @ vectors.T
    return exponential(rows @ vectors, a, b, -np.eye(DIM) / 2)


def regular(xs, ridge):
    second = xs.T @ xs / len(xs)
    return second + (ridge * np.trace(second) + 1e-6) * np.eye(DIM)


def of_transformed(rows, xs, ys, name, of_x, of_y):
    """The features of OPRFs for other vectors."""
    size = np.mean([np.sum((of_x @ x + of_y @ y) ** 2) for x in xs for y in ys]) / DIM
    a, change = optimal_a(size), {"q": of_x, "k": of_y}[name]
    b, c = np.sqrt(1 - 4 * a) * change, -change.T @ change / 2
    return exponential(rows, a * np.eye(DIM), b, c)


def aderf(rows, xs, ys, name):
    """Theorem 4.2; its w is R w, where R is the rotation in its B."""
    (of_xs, left), (of_ys, right) = (np.linalg.eigh(regular(x, 1e-3)) for x in (xs, ys))
    u, sigma, vt = np.linalg.svd(np.sqrt(of_xs)[:, None] * (left.T @ right) * np.sqrt(of_ys))
    of_x = np.diag(np.sqrt(sigma)) @ u.T @ np.diag(of_xs**-0.5) @ left.T
    of_y = np.diag(np.sqrt(sigma)) @ vt @ np.diag(of_ys**-0.5) @ right.T
    np.testing.assert_allclose(of_x.T @ of_y, np.eye(DIM), atol=1e-9)
    before, _, after = np.linalg.svd(of_x)
    return of_transformed(rows @ (before @ after).T, xs, ys, name, of_x, of_y)


def saderf(rows, xs, ys, name):
    of_y, of_x = (np.diag(regular(x, 1e-3 / DIM)) for x in (ys, xs))
    ratio = of_y / of_x
    return of_transformed(rows, xs, ys, name, np.diag(ratio**0.25), np.diag(ratio**-0.25))


@pytest.mark.parametrize(
    ("estimator", "reference"),
    [("symmetric", sderf), ("asymmetric", aderf), ("simplified", saderf)],
)
def test_it_equals_its_equations(estimator, reference):
    """The parameters are constants to the gradient."""
    module, inputs = build(estimator=estimator), tokens()
    rows = np.asarray(module.projection[...], np.float64)

    def features(example, head, name):
        return reference(rows, *scaled(inputs, example, head), name)

    check_agreement(
        lambda inputs: module(**inputs, mask=MASK),
        lambda inputs: attention(features, inputs),
        inputs,
        MASK,
    )


@pytest.mark.parametrize("estimator", ["asymmetric", "simplified"])
@pytest.mark.parametrize("check", contract.ALWAYS, ids=lambda check: check.__name__)
def test_options_keep_the_contract(check, estimator):
    options = {"num_features": 3 * subject.DIM, "estimator": estimator}
    check(subject.registered("favor-sharp", **options), "float32")


@pytest.mark.parametrize("dim", [32, 64])
@pytest.mark.parametrize("real", [1, 2])
def test_the_asymmetric_estimator_of_few_tokens_is_finite(dim, real):
    """Their moments are of rank 1 or 2, so most eigenvalues are rounding."""
    rng = np.random.default_rng(dim)
    attend = FavorSharp(Dims(2, dim, 16), estimator="asymmetric", rngs=nnx.Rngs(0))
    mask = np.arange(16)[None] < real
    for _ in range(3):
        q, k, v = rng.standard_normal((3, 1, 16, 2, dim)).astype(np.float32)
        q, k = 10 * subject.unit(q), 10 * subject.unit(k)
        for keys in (k, q):
            padded = jax.jit(attend)(q, keys, v, mask)[:, :real]
            alone = jax.jit(attend)(*(x[:, :real] for x in (q, keys, v)), mask[:, :real])
            assert np.isfinite(padded).all()
            np.testing.assert_allclose(alone, padded, atol=1e-2)


def test_the_asymmetric_estimator_of_few_tokens_reads_no_padding():
    """In float64, where rounding does not hide it: 7 tokens of 16 features have rank 7."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        attend = FavorSharp(Dims(2, 16, 64), estimator="asymmetric", rngs=nnx.Rngs(0))
        qkv = [rng.standard_normal((1, 64, 2, 16)) for _ in range(3)]
        mask = np.arange(64)[None] < 7
        padded = attend(*qkv, mask)[:, :7]
        alone = attend(*(x[:, :7] for x in qkv), mask[:, :7])
    np.testing.assert_allclose(alone, padded, atol=1e-12)
