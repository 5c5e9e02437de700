"""What is shared by tests of random features: tokens, a slow kernel attention, closed forms."""

import numpy as np

LENGTH, HEADS, DIM, FEATURES = 37, 2, 4, 12
# The second example has padding at its start, in its middle and at its end.
MASK = np.ones((2, LENGTH), bool)
MASK[1, [0, 1, 9, 10, 11, *range(30, LENGTH)]] = False


def tokens(seed=0):
    """Queries and keys of different sizes along different axes, with means other than 0."""
    rng = np.random.default_rng(seed)
    q, k, v = rng.standard_normal((3, 2, LENGTH, HEADS, DIM))
    q = 0.3 + q * np.linspace(0.3, 1.5, DIM)
    k = k * np.linspace(1.2, 0.4, DIM) - 0.2
    return {"q": q, "k": k, "v": v}


def scaled(inputs, example, head):
    """x = q / d^(1/4) and y = k / d^(1/4) of the real tokens of one example and head."""
    real = MASK[example]
    return [inputs[name][example, real, head] * DIM**-0.25 for name in ("q", "k")]


def attention(features, inputs):
    """Kernel attention as its definition says, token by token.

    Args:
        features: maps an example, a head and the name of q or k to a function of x.
        inputs: q, k and v.
    """
    out = np.zeros_like(inputs["v"])
    for example, head in np.ndindex(2, HEADS):
        queries, keys = (
            np.array([phi(x * DIM**-0.25) for x in inputs[name][example, :, head]])
            for name in ("q", "k")
            for phi in [features(example, head, name)]
        )
        for token in range(LENGTH):
            weights = MASK[example] * (keys @ queries[token])
            out[example, token, head] = weights @ inputs["v"][example, :, head] / weights.sum()
    return out


def optimal_a(size):
    """A of one dimension, from the mean of (x + y)^2: that of SDERF, and of OPRF with d = 1."""
    return (1 - 2 * size - np.sqrt((2 * size + 1) ** 2 + 8 * size)) / 16


def second_moment(a, b_x, b_y, x, y):
    """E[phi(x)^2 phi(y)^2] of DERFs that estimate exp(x^T y), as FAVOR#'s variance has it."""
    one = np.eye(len(x))
    inner, outer = np.linalg.inv(one - 8 * a), np.linalg.inv(one - 4 * a)
    z = b_x @ x + b_y @ y
    squares = (b_x @ x) @ outer @ (b_x @ x) + (b_y @ y) @ outer @ (b_y @ y)
    scale = np.linalg.det(one - 4 * a) / np.sqrt(np.linalg.det(one - 8 * a))
    return scale * np.exp(2 * z @ inner @ z - squares)
