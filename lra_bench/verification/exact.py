"""Compute softmax attention in float64: exact mechanisms equal it, others approximate it."""

from typing import Any

import numpy as np


def softmax_float64(*arrays: Any, causal: bool = False) -> np.ndarray:
    """Compute Eq. (1) of the Performer paper or, if causal, Eq. (2), in float64.

    Args:
        arrays: q, k and v (b l h d), and mask (b l).
        causal: whether a token sees no later one.
    """
    q, k, v = (np.asarray(x, np.float64) for x in arrays[:3])
    mask = np.asarray(arrays[3])
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(-1, keepdims=True)) * mask[:, None, None, :]
    if causal:
        weights = np.tril(weights)
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)
