"""Does a function agree with a slow reference in float64, and its gradients with differences?

A reference is written from the paper in NumPy, one obvious loop or product after the other. It
takes the same tree of arrays as the function, in float64.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

FORWARD = 1e-4  # of the largest output, in float32
GRADIENT = 1e-3  # of the largest derivative
STEP = 1e-5  # of central differences in float64


def learned(module):
    """Return a module's learned arrays by name, and what makes the module of such arrays."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    leaves = {".".join(map(str, path)): (path, x) for path, x in nnx.to_flat_state(params)}

    def with_arrays(arrays):
        state = nnx.from_flat_state([(leaves[name][0], nnx.Param(arrays[name])) for name in arrays])
        return nnx.merge(graph, state, rest, copy=True)

    return {name: np.asarray(x[...]) for name, (_, x) in leaves.items()}, with_arrays


def check_agreement(function, reference, inputs, chosen=..., *, directions=3):
    """Compare outputs, and the derivatives of a sum of them along random directions.

    Args:
        function: of the tree `inputs`, in float32.
        reference: of the same tree, in float64.
        inputs: a tree of float arrays.
        chosen: index of the outputs that count, such as the mask of real tokens.
        directions: how many are tried.
    """
    inputs = jax.tree.map(lambda x: np.asarray(x, np.float32), inputs)
    wide = jax.tree.map(lambda x: x.astype(np.float64), inputs)
    expected = np.asarray(reference(wide))[chosen]
    weights = np.random.default_rng(0).standard_normal(expected.shape)

    def total(inputs):
        out = function(inputs)
        return jnp.sum(out[chosen] * weights.astype(np.float32)), out

    (_, out), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(inputs)
    error = np.abs(np.asarray(out, np.float64)[chosen] - expected).max()
    assert error <= FORWARD * np.abs(expected).max(), error
    ways = [directions_like(wide, seed) for seed in range(directions)]
    found = [inner_product(gradient, way) for way in ways]
    differences = [
        difference(lambda x: np.sum(weights * reference(x)[chosen]), wide, way) for way in ways
    ]
    atol = GRADIENT * np.abs(differences).max()
    np.testing.assert_allclose(found, differences, rtol=0, atol=atol)


def directions_like(inputs, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape), inputs)


def inner_product(gradient, way):
    terms = jax.tree.map(lambda g, w: np.sum(np.asarray(g, np.float64) * w), gradient, way)
    return sum(jax.tree.leaves(terms))


def difference(total, inputs, way):
    """The central difference of `total` along a direction."""

    def moved(step):
        return total(jax.tree.map(lambda x, w: x + step * w, inputs, way))

    return (moved(STEP) - moved(-STEP)) / (2 * STEP)
