"""S4D against its recurrence, token by token."""

import numpy as np
import pytest
from mixers import built, check_reference, gelu, linear, sigmoid

from lra_bench.attentions.s4d import vandermonde


def s4d(u, arrays):
    """x_k = exp(A d) x_(k-1) + A^-1 (exp(A d) - 1) u_k and y_k = 2 Re(C x_k), for each feature.

    The second state space runs from the last token and is read one token later.
    """
    eigenvalues = -np.exp(arrays["log_decay"]) + 1j * arrays["frequency"]
    transition = np.exp(eigenvalues * np.exp(arrays["log_step"])[:, None])
    outputs = arrays["outputs"][0] + 1j * arrays["outputs"][1]
    y = arrays["feedthrough"] * u
    state = np.zeros_like(transition)
    for token in range(len(u)):
        state = transition * state + (transition - 1) / eigenvalues * u[token][:, None]
        y[token] += 2 * (outputs[0] * state).sum(1).real
    state = np.zeros_like(transition)
    for token in reversed(range(len(u) if len(outputs) > 1 else 0)):
        y[token] += 2 * (outputs[1] * state).sum(1).real
        state = transition * state + (transition - 1) / eigenvalues * u[token][:, None]
    mixed, gate = np.split(linear(arrays, "mix", gelu(y)), 2, axis=1)
    return mixed * sigmoid(gate)


@pytest.mark.parametrize("options", [{}, {"state_dim": 6, "init": "inv", "causal": True}])
def test_equals_the_recurrence(options):
    check_reference(built("s4d", **options), s4d)


@pytest.mark.parametrize("length", [1, 2, 10, 16, 37])
def test_the_kernel_is_the_product_with_a_vandermonde_matrix(length):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2, 3, 4)) + 1j * rng.standard_normal((2, 3, 4))
    exponents = -rng.random((3, 4)) + 1j * rng.standard_normal((3, 4))
    powers = np.exp(exponents[:, :, None] * np.arange(length))
    expected = np.einsum("kep,ept->ket", weights, powers).real
    found = vandermonde(weights.astype(np.complex64), exponents.astype(np.complex64), length)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_initial_frequencies():
    """S4D-Lin and S4D-Inv for four eigenvalues."""
    lin, inv = (built("s4d", state_dim=4, init=init).frequency[...][0] for init in ("lin", "inv"))
    np.testing.assert_allclose(lin, [0, np.pi], rtol=1e-6)
    np.testing.assert_allclose(inv, [12 / np.pi, 4 / np.pi / 3], rtol=1e-6)


def test_refuses_an_odd_number_of_eigenvalues():
    with pytest.raises(Exception, match="state_dim=7: must be even"):
        built("s4d", state_dim=7)
