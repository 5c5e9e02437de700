"""The models of published code in float64, from their formulas: slow and plain.

`weights` are those of our model, by name; a kernel is (inputs, outputs).
"""

import math

import numpy as np
from scipy.special import erf, softmax


def dense(weights, name, x):
    bias = weights.get(f"{name}.bias", 0)
    return x @ weights[f"{name}.kernel"] + bias


def layer_norm(weights, name, x, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation * weights[f"{name}.scale"] + weights[f"{name}.bias"]


def gelu_erf(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def heads_of(x, heads):
    """(b, l, h d) -> (b, h, l, d)."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def softmax_attention(q, k, v, mask):
    """Nystromformer's SoftmaxAttention: padded keys get -1e6."""
    scores = q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]) - 1e6 * ~mask[:, None, None]
    return softmax(scores, axis=-1) @ v


def linformer_attention(projection):
    """Nystromformer's LinformerAttention: one projection (h, k, l) for keys and values."""

    def attend(q, k, v, mask):
        k, v = (projection @ (x * mask[:, None, :, None]) for x in (k, v))
        return softmax(q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]), axis=-1) @ v

    return attend


def encoded(weights, x, mask, attend, *, heads, epsilon, gelu):
    """Return x after all blocks and the last layer normalisation, (b, l, e)."""
    layer = 0
    while f"encoder.blocks.{layer}.ffn_in.kernel" in weights:
        block = f"encoder.blocks.{layer}"
        y = layer_norm(weights, f"{block}.attention_norm", x, epsilon)
        q, k, v = (
            heads_of(dense(weights, f"{block}.attention.{name}", y), heads)
            for name in ("query", "key", "value")
        )
        y = attend(q, k, v, mask).swapaxes(1, 2).reshape(*x.shape[:2], -1)
        x = x + dense(weights, f"{block}.attention.out", y)
        y = gelu(
            dense(weights, f"{block}.ffn_in", layer_norm(weights, f"{block}.ffn_norm", x, epsilon))
        )
        x = x + dense(weights, f"{block}.ffn_out", y)
        layer += 1
    return layer_norm(weights, "encoder.norm", x, epsilon)


def nystromformer(weights, tokens, *, length, attend, heads=2):
    """Return the logits of ModelForSC, or of ModelForSCDual for two documents an example.

    github.com/mlpen/Nystromformer@5689313, LRA/code/model_wrapper.py and model.py: sequences are
    padded to `length`, padding is zeroed after the last layer, and the mean is over all positions.
    """
    documents = tokens.reshape(-1, tokens.shape[-1]).astype(int)
    documents = np.pad(documents, ((0, 0), (0, length - documents.shape[1])))
    mask = documents != 0
    x = weights["encoder.embed.embedding"][documents]
    x = x + weights["encoder.positions.embedding"][:length]
    x = encoded(weights, x, mask, attend, heads=heads, epsilon=1e-5, gelu=gelu_erf)
    pooled = (x * mask[:, :, None]).mean(axis=1)
    if tokens.ndim == 3:
        first, second = pooled[::2], pooled[1::2]
        pooled = np.concatenate([first, second, first * second, first - second], axis=1)
    return dense(weights, "out", np.maximum(dense(weights, "hidden", pooled), 0))
