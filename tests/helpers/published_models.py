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
    """Nystromformer's and Skyformer's SoftmaxAttention: padded keys get -1e6."""
    scores = q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]) - 1e6 * ~mask[:, None, None]
    return softmax(scores, axis=-1) @ v


def flax_attention(q, k, v, mask):
    """Flax 0.3.6, deprecated/nn/attention.py: -1e10 where the query or the key is padding.

    A padded query has it everywhere. In float32 nothing is left of its scores, so its weights are
    equal, at padding too.
    """
    weights = np.where(mask[:, None, :, None], 0, 1 / mask.shape[1]) * np.ones(mask.shape[1])
    scores = q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1])
    real = softmax(np.where(mask[:, None, None], scores, -1e10), axis=-1)
    return np.where(mask[:, None, :, None], real, weights) @ v


def linformer_attention(projection):
    """Nystromformer's and Skyformer's LinformerAttention: one E (h, k, l) for keys and values."""

    def attend(q, k, v, mask):
        k, v = (projection @ (x * mask[:, None, :, None]) for x in (k, v))
        return softmax(q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]), axis=-1) @ v

    return attend


def lra_linformer_attention(projection):
    """linformer_attention.py of the Long Range Arena: one E (1, k, l) for all heads, no mask."""

    def attend(q, k, v, mask):
        del mask
        return linformer_attention(projection)(q, k, v, np.ones((len(q), q.shape[2]), bool))

    return attend


def feature_attention(phi):
    """Linear and generalized attention of the Long Range Arena, without a mask."""

    def attend(q, k, v, mask):
        del mask
        weights = phi(q) @ phi(k).swapaxes(2, 3)
        return weights @ v / weights.sum(axis=-1, keepdims=True)

    return attend


def elu_plus_1(x):
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def relu_features(x):
    """generalized_kernel_feature_creator without projection: ReLU of scaled data, plus 0.001."""
    return np.maximum(x / x.shape[-1] ** 0.25, 0) + 1e-3


def encoded(weights, x, mask, attends, *, heads, epsilon, gelu):
    """Return x after all blocks and the last layer normalisation, (b, l, e).

    `attends` has the attention of each block.
    """
    for layer, attend in enumerate(attends):
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
    return layer_norm(weights, "encoder.norm", x, epsilon)


def sinusoids(length, features):
    """common_layers.sinusoidal_init: sines at even features, cosines at odd ones.

    Ours has all sines first. Only the names of features differ, so ours are returned.
    """
    angles = np.arange(length)[:, None] * np.exp(
        np.arange(0, features, 2) * -(math.log(10_000.0) / features)
    )
    table = np.zeros((length, features))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)


def nystromformer(weights, tokens, *, length, attends, heads=2):
    """Return the logits of ModelForSC, or of ModelForSCDual for two documents an example.

    github.com/mlpen/Nystromformer@5689313, LRA/code/model_wrapper.py and model.py, and
    github.com/pkuzengqi/Skyformer@1a677cb, src/models/model_LRA.py and model_transformer.py:
    sequences are padded to `length`, padding is zeroed after the last layer, and the mean is over
    all positions.
    """
    documents = tokens.reshape(-1, tokens.shape[-1]).astype(int)
    documents = np.pad(documents, ((0, 0), (0, length - documents.shape[1])))
    mask = documents != 0
    x = weights["encoder.embed.embedding"][documents]
    x = x + weights["encoder.positions.embedding"][:length]
    x = encoded(weights, x, mask, attends, heads=heads, epsilon=1e-5, gelu=gelu_erf)
    pooled = (x * mask[:, :, None]).mean(axis=1)
    if tokens.ndim == 3:
        first, second = pooled[::2], pooled[1::2]
        pooled = np.concatenate([first, second, first * second, first - second], axis=1)
    return dense(weights, "out", np.maximum(dense(weights, "hidden", pooled), 0))


def lra(weights, tokens, *, attends, heads, pooling):
    """Return the logits of TransformerEncoder, or of TransformerDualEncoder.

    github.com/google-research/long-range-arena@cd31e5c, lra_benchmarks/models/transformer and
    models/layers. The dual encoder has no token for CLS; "CLS" is the first byte there.

    Args:
        pooling: "cls", "first" or "mean", of all positions, whatever they hold.
    """
    sequences = tokens.reshape(-1, tokens.shape[-1]).astype(int)
    mask = sequences > 0
    embedding = weights["encoder.embed.embedding"]
    x = embedding[sequences]
    if pooling == "cls":
        first = np.broadcast_to(embedding[-1], (len(x), 1, x.shape[2]))
        x, mask = np.concatenate([first, x], axis=1), np.concatenate([mask[:, :1], mask], axis=1)
    learned = weights.get("encoder.positions.embedding")
    x = x + (sinusoids(*x.shape[1:]) if learned is None else learned[: x.shape[1]])
    x = encoded(weights, x, mask, attends, heads=heads, epsilon=1e-6, gelu=gelu_tanh)
    x = x.mean(axis=1) if pooling == "mean" else x[:, 0]
    if tokens.ndim == 3:
        x = np.concatenate([x[::2], x[1::2]], axis=1)
    x = np.maximum(dense(weights, "hidden", x), 0)
    if "second.kernel" in weights:
        x = np.maximum(dense(weights, "second", x), 0)
    return dense(weights, "out", x)
