"""Attention to a set of keys per query, token by token, in float64; and inputs to try it on."""

from unittest import mock

import numpy as np
from agreement import check_agreement

from lra_bench.attentions import _blocks
from lra_bench.verification.subject import DIM, HEADS, lengths_mask

# Shorter than the contract's, because of the loops; no multiple of the blocks that are tried.
LENGTH, REAL = 37, 25
MASK = lengths_mask(LENGTH, REAL, length=LENGTH)


def attention_to(keys_of, q, k, v):
    """Softmax attention of token i of example b in head h to the tokens `keys_of(b, h, i)`."""
    out = np.zeros_like(v)
    for b, i, h in np.ndindex(q.shape[:3]):
        keys = keys_of(b, h, i)
        assert len(set(keys)) == len(keys)
        if keys:
            logits = k[b, keys, h] @ q[b, i, h] / np.sqrt(q.shape[3])
            weights = np.exp(logits - logits.max())
            out[b, i, h] = weights @ v[b, keys, h] / weights.sum()
    return out


def check_pattern(mechanism, may_see, *, mask=MASK):
    """Check outputs and gradients of a mechanism whose query i sees real keys j.

    Its groups of blocks are as small as they can be, so that there are several.

    Args:
        mechanism: of q, k, v and mask.
        may_see: of example, head, i and j, whether i sees j; asked only if both are real.
        mask: True where a token is real.
    """

    def keys_of(b, h, i):
        return [j for j in np.flatnonzero(mask[b]) if mask[b, i] and may_see(b, h, i, j)]

    rng = np.random.default_rng(1)
    inputs = {name: rng.standard_normal((*mask.shape, HEADS, DIM)) for name in "qkv"}
    with mock.patch.object(_blocks, "_CPU_BYTES", 1):
        check_agreement(
            lambda x: mechanism(x["q"], x["k"], x["v"], mask),
            lambda x: attention_to(keys_of, x["q"], x["k"], x["v"]),
            inputs,
            mask,
        )
