"""Formulas of the numbers that mechanisms keep of a sequence: see `AttentionTraits.state`."""

import math
from collections.abc import Mapping
from typing import Any

from lra_bench.contracts import Dims

# Options of a mechanism.
Options = Mapping[str, Any]


def nothing(dims: Dims, options: Options) -> int:
    """Return no number: no other token is read."""
    del dims, options
    return 0


def keys_and_values(dims: Dims, tokens: int) -> int:
    """Return the numbers of the keys and values of so many tokens, at most all."""
    return 2 * dims.inner * min(tokens, dims.max_len)


def kernel_sums(dims: Dims, features: int, *, normaliser: bool = True) -> int:
    """Return the numbers of sum_j phi(k_j) v_j^T and, unless left out, of sum_j phi(k_j)."""
    return dims.num_heads * features * (dims.head_dim + normaliser)


def directions(options: Options) -> int:
    """Return how many ways a recurrence runs: forward and, unless causal, backward."""
    return 1 if options["causal"] else 2


def all_pairs(dims: Dims, options: Options) -> int:
    """Return the keys and values of all tokens."""
    del options
    return keys_and_values(dims, dims.max_len)


def random_features(dims: Dims, options: Options) -> int:
    """Return the sums over keys, of one feature a projection, or of two for some estimators."""
    features = options["num_features"]
    if options.get("projection") == "none":
        features = dims.head_dim
    if options.get("estimator") in ("hyperbolic", "trigonometric"):
        features *= 2
    return kernel_sums(dims, features, normaliser=options["renormalize"])


def blocks_around(options: Options) -> int:
    """Return the blocks of a window of `look_around` blocks on either side, or on one."""
    sides = 1 if options.get("causal") else 2
    return sides * options["look_around"] + 1


def stride_of(dims: Dims, options: Options) -> int:
    """Return the stride of the Sparse Transformer: by default the root of the length."""
    return options["stride"] or round(math.sqrt(dims.max_len))
