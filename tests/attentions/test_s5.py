"""S5 against its recurrence, and its initial state matrix against HiPPO-LegS."""

import jax
import numpy as np
import pytest
from mixers import MASK, built, check_reference, gelu, linear, sigmoid, tokens

from lra_bench.attentions.s5 import hippo_normal
from lra_bench.verification import contract, subject


def state_space(u, arrays, scans):
    """x_k = exp(Lambda Delta) x_(k-1) + Lambda^-1 (exp(Lambda Delta) - 1) B u_k, y = C x + D u."""
    eigenvalues = -np.maximum(arrays["decay"], 1e-4) + 1j * arrays["frequency"]
    transition = np.exp(eigenvalues * np.exp(arrays["log_step"]))
    inputs = arrays["inputs"][0] + 1j * arrays["inputs"][1]
    inputs = ((transition - 1) / eigenvalues)[:, None] * inputs
    y = arrays["feedthrough"] * u
    for scan in range(scans):
        outputs = arrays["outputs"][0, scan] + 1j * arrays["outputs"][1, scan]
        state = np.zeros(len(transition), complex)
        for token in range(len(u))[:: -1 if scan else 1]:
            state = transition * state + inputs @ u[token]
            y[token] += 2 * (outputs @ state).real
    return y


def s5(u, arrays, scans, gated):
    y = state_space(u, arrays, scans)
    return (gelu(y) if gated else y) * sigmoid(linear(arrays, "gate", gelu(y)))


@pytest.mark.parametrize(
    ("scans", "gated", "options"),
    [
        (2, True, {}),
        (1, False, {"state_dim": 12, "num_blocks": 3, "activation": "half_glu2", "causal": True}),
    ],
)
def test_equals_the_recurrence(scans, gated, options):
    check_reference(built("s5", **options), lambda u, arrays: s5(u, arrays, scans, gated))


@pytest.mark.parametrize("size", [2, 8])
def test_starts_from_the_normal_part_of_hippo_legs(size):
    """A_nk = -sqrt((2n + 1)(2k + 1)) below the diagonal and -(n + 1) on it; plus p p^T."""
    n = np.arange(size)
    legs = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    normal = legs + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5))
    frequencies, vectors = hippo_normal(size)
    rebuilt = 2 * ((vectors * (-0.5 + 1j * frequencies)) @ vectors.conj().T).real
    np.testing.assert_allclose(rebuilt, normal, atol=1e-12 * size**2)


def test_has_as_many_parameters_as_softmax_attention():
    module = built("s5")
    e = 10
    sizes = [module.inputs, module.outputs, module.gate.kernel]
    assert sum(x[...].size for x in sizes) == 4 * e * e


@pytest.mark.parametrize("options", [{"state_dim": 7}, {"state_dim": 8, "num_blocks": 3}])
def test_refuses_sizes_that_do_not_fit(options):
    with pytest.raises(Exception, match="must"):
        built("s5", **options)


def test_a_state_cannot_grow():
    """A real part of an eigenvalue above 0 would overflow in long sequences."""
    module = built("s5")
    module.decay[...] = -1e4 * np.ones_like(module.decay[...])
    out = np.asarray(jax.jit(module)(tokens(), MASK))
    assert np.isfinite(out).all()


@pytest.mark.parametrize("check", [contract.check_padding_is_never_read])
def test_contract_of_options(check):
    check(subject.registered("s5", state_dim=6, activation="gelu"), "float32")
