"""Mixers against references that know nothing of padding: they get an example's real tokens."""

import jax
import numpy as np
from agreement import check_agreement, learned
from flax import nnx

from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention

LENGTH = 37
DIMS = Dims(num_heads=3, head_dim=4, max_len=40, emb_dim=10)
# The first example is full, the second has padding before, between and after its real tokens.
MASK = np.ones((2, LENGTH), bool)
MASK[1, [0, 5, 6, 7, 20, 33, 34, 35, 36]] = False


def built(name, **options):
    return build_attention(name, DIMS, options, nnx.Rngs(0))


def tokens(seed=0):
    shape = (len(MASK), LENGTH, DIMS.emb_dim)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check_reference(module, reference):
    """Compare a mixer, its gradients by x and by its parameters, with a reference.

    Args:
        module: the mixer.
        reference: of the tokens (n, e) of one example and the parameters by name; returns (n, e).
    """
    arrays, with_arrays = learned(module)
    check_learned(with_arrays, reference, tokens(), arrays, MASK)


def check_learned(with_arrays, reference, x, arrays, mask):
    """Compare a mixer that is made of `arrays` with a reference, as `check_reference` does."""

    def found(inputs):
        return with_arrays(inputs["arrays"])(inputs["x"], mask)

    def expected(inputs):
        out = np.zeros(inputs["x"].shape)
        for x, real, y in zip(inputs["x"], mask, out, strict=True):
            y[real] = reference(x[real], inputs["arrays"])
        return out

    check_agreement(found, expected, {"x": x, "arrays": arrays}, mask)


def check_reversible(module):
    """A mixer that reads both directions alike: reversed tokens have the reversed outputs."""
    call = jax.jit(module)
    out = np.asarray(call(tokens(), MASK))
    turned = np.asarray(call(tokens()[:, ::-1], MASK[:, ::-1]))[:, ::-1]
    np.testing.assert_allclose(turned[MASK], out[MASK], rtol=0, atol=2e-5 * np.abs(out).max())


def linear(arrays, name, x):
    return x @ arrays[f"{name}.kernel"] + arrays[f"{name}.bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    """By its approximation with tanh."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
