"""The formulas by which published code attends to all tokens: exactly, by kernels, at low rank.

Each function restates one formula in NumPy, from the source that its docstring names, with small
blocks and few features. Its docstring says what that code does with padding and with batch mates.
"""

import numpy as np
from _formulas import Array, Batch, attend, elu1, linear, masked, sigmoid, softmax, weights


def skyformer_softmax(batch: Batch) -> Array:
    """Return softmax attention.

    Mechanism: softmax
    Padding: masked: -1e6 is added to the scores of padded keys
    Mates: not seen
    Source:
        pkuzengqi/Skyformer@1a677cb104dac8ad83079196a5d78d5913d1d278:src/models/attention.py:81-92
    """
    return attend(batch.q, batch.k, batch.v, masked(batch.mask, -1e6))


def lra_linformer(batch: Batch) -> Array:
    """Return softmax attention to 4 projected keys and values, by one projection of positions.

    Mechanism: linformer
    Padding: read: the layer takes a mask and does not use it
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/linformer/linformer_attention.py:127-164
    """
    return _linformer(batch.q, batch.k, batch.v, seed_of_values=0)


def fairseq_linformer(batch: Batch) -> Array:
    """Return softmax attention to 4 projected keys and values, by two projections of positions.

    Mechanism: linformer
    Padding: read: the layer takes a mask and does not use it
    Mates: not seen
    Source:
        facebookresearch/fairseq@3d262bb25690e4eb2e7d3c1309b1e9c406ca4b99:examples/linformer/linformer_src/modules/multihead_linear_attention.py:200-224,328-354
    """
    return _linformer(batch.q, batch.k, batch.v, seed_of_values=1)


def mlpen_linformer(batch: Batch) -> Array:
    """Return softmax attention to 4 projected keys and values, by one projection of positions.

    Mechanism: linformer
    Padding: zeroed: padded keys and values are 0 before the projection
    Mates: not seen
    Source:
        mlpen/Nystromformer@56893131bf3fa99b5a2d3ab452a591dca722529a:LRA/code/attention_linformer.py:23-34
    """
    return _linformer(batch.q, batch.k * batch.real, batch.v * batch.real, seed_of_values=0)


def lra_performer(batch: Batch) -> Array:
    """Return attention by 16 positive random features, drawn with the sum of all queries as seed.

    Mechanism: performer-softmax
    Padding: read: the mask is passed as a bias that is not used
    Mates: the random features are drawn anew from the sum of all queries of the batch
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/performer/performer_attention.py:50-108,550-705
    """
    seed = int(np.ceil(batch.q.sum() * 1e7)) % 2**32
    drawn = np.random.RandomState(seed).standard_normal((16, batch.q.shape[-1]))
    q, k = _favor(batch.q, drawn, (-1,), 1e-6), _favor(batch.k, drawn, (1, 3), 1e-6)
    return linear(q, k, batch.v)


def lra_performer_relu(batch: Batch) -> Array:
    """Return kernel attention with features relu(x) + 0.001.

    Mechanism: performer-relu
    Padding: read: the mask is passed as a bias that is not used
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/performer/performer_attention.py:163-197,262-309,550-705
    """
    q, k = (np.maximum(array, 0) + 1e-3 for array in (batch.q, batch.k))
    return linear(q, k, batch.v)


def lucidrains_performer(batch: Batch) -> Array:
    """Return attention by 16 positive random features.

    Mechanism: performer-softmax
    Padding: read: padded values are zeroed, but the normaliser and the largest exponent read the
        padded keys
    Mates: not seen
    Source:
        lucidrains/performer-pytorch@fc8b78441b1e27eb5d9b01fc738a8772cee07127:performer_pytorch/performer_pytorch.py:90-115,170-175,425-433
    """
    drawn = _directions(batch)
    k = _favor(batch.k, drawn, (1, 3), 1e-4)
    return linear(_favor(batch.q, drawn, (-1,), 1e-4), k, batch.v * batch.real)


def mlpen_performer(batch: Batch) -> Array:
    """Return attention by 16 positive random features, of queries and keys that are scaled twice.

    Mechanism: performer-softmax
    Padding: zeroed, but the normaliser counts the features of the zeros
    Mates: not seen
    Source:
        mlpen/Nystromformer@56893131bf3fa99b5a2d3ab452a591dca722529a:LRA/code/attention_performer.py:19-23
    """
    drawn, scale = _directions(batch), batch.q.shape[-1] ** -0.25
    q = _favor(batch.q * scale, drawn, (-1,), 1e-4)
    k = _favor(batch.k * scale * batch.real, drawn, (1, 3), 1e-4)
    return linear(q, k, batch.v * batch.real)


def lra_linear(batch: Batch) -> Array:
    """Return kernel attention with features elu(x) + 1.

    Mechanism: linear
    Padding: read: the layer takes a mask and does not use it
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/linear_transformer/linear_attention.py:58-72,166-181
    """
    return linear(elu1(batch.q), elu1(batch.k), batch.v, epsilon=1e-6)


def idiap_linear(batch: Batch) -> Array:
    """Return kernel attention with features elu(x) + 1.

    Mechanism: linear
    Padding: zeroed: the features of padded keys are 0
    Mates: not seen
    Source:
        idiap/fast-transformers@2ad36b97e64cb93862937bd21fcc9568d989561f:fast_transformers/attention/linear_attention.py:57-78
    """
    return linear(elu1(batch.q), elu1(batch.k) * batch.real, batch.v, epsilon=1e-6)


def mlpen_linear(batch: Batch) -> Array:
    """Return kernel attention with features elu(x) + 1, divided by the root of the padded length.

    Mechanism: linear
    Padding: zeroed, but the output is divided by sqrt(l) with the padded length l
    Mates: not seen
    Source:
        mlpen/Nystromformer@56893131bf3fa99b5a2d3ab452a591dca722529a:LRA/code/attention_linear.py:11-16
    """
    scale = batch.q.shape[1] ** -0.25
    q, k = elu1(batch.q) * scale, elu1(batch.k) * batch.real * scale
    return np.einsum("blhm,bshm,bshd->blhd", q, k, batch.v * batch.real, optimize=True)


def nystromformer(batch: Batch) -> Array:
    """Return attention by 4 landmarks, with the pseudo-inverse by 6 iterations, no convolution.

    Mechanism: nystromformer
    Padding: zeroed, but the zeros are in the means of the landmarks, and landmarks of nothing but
        zeros are attended to
    Mates: the iteration starts from the largest column sum over the batch and the heads
    Source:
        mlpen/Nystromformer@56893131bf3fa99b5a2d3ab452a591dca722529a:LRA/code/attention_nystrom.py:29-63
    """
    scale = batch.q.shape[-1] ** -0.25
    q, k = batch.q * batch.real * scale, batch.k * batch.real * scale
    landmarks_q, landmarks_k = (
        array.reshape(len(array), 4, -1, *array.shape[2:]).mean(2) for array in (q, k)
    )
    first, second, third = (
        np.einsum("blhd,bmhd->bhlm", *pair)
        for pair in ((q, landmarks_k), (landmarks_q, landmarks_k), (landmarks_q, k))
    )
    inverse = _iterated_inverse(softmax(second))
    context = np.einsum("bhlm,bmhd->bhld", softmax(third + masked(batch.mask, -1e9)), batch.v)
    return (softmax(first) @ inverse @ context).swapaxes(1, 2)


def skyformer(batch: Batch) -> Array:
    """Return Gaussian-kernel attention by 32 sampled queries and 32 sampled keys.

    Mechanism: skyformer
    Padding: zeroed; only real tokens are sampled
    Mates: the iteration starts from the largest column sum over the batch and the heads
    Source:
        pkuzengqi/Skyformer@1a677cb104dac8ad83079196a5d78d5913d1d278:src/models/attention_skyformer.py:113-149,181-250
    """
    scale, length = 32**-0.25, batch.q.shape[1]
    q, k, v = batch.q * batch.real * scale, batch.k * batch.real * scale, batch.v * batch.real
    both = np.concatenate([q, k], axis=1).swapaxes(1, 2)
    places = np.random.RandomState(0).random_sample(64) * batch.mask.sum(1, keepdims=True)
    places = (places.astype(int) + np.where(np.arange(64) < 32, 0, length))[:, None, :]
    sampled = np.take_along_axis(both, places[..., None], axis=2)
    kernel = _gaussian(both, sampled)
    core = np.take_along_axis(kernel, places[..., None], axis=2) + 0.1 * np.eye(64)
    root = core.sum(-1) ** -0.5
    inverse = _iterated_inverse(root[..., :, None] * core * root[..., None, :])
    right = (kernel[:, :, length:] * root[:, :, None]) @ inverse * root[:, :, None]
    right = right * batch.mask[:, None, :, None]
    return (kernel[:, :, :length] @ (right.swapaxes(2, 3) @ v.swapaxes(1, 2))).swapaxes(1, 2)


def cosformer(batch: Batch) -> Array:
    """Return kernel attention with ReLU features, reweighted by cosines of the distance.

    Mechanism: cosformer
    Padding: read: there is no padding mask; positions are divided by the padded length
    Mates: not seen
    Source:
        OpenNLPLab/cosFormer@8e12da111e2a683ea875711e0bf5810c6b4e8f9f:cosformer.py:45-48,93-138
    """
    length = batch.q.shape[1]
    angles = np.pi / 2 * np.arange(1, length + 1)[:, None, None] / length
    q, k = (
        np.concatenate([np.maximum(array, 0) * turn(angles) for turn in (np.sin, np.cos)], axis=-1)
        for array in (batch.q, batch.k)
    )
    return linear(q, k, batch.v)


def random_feature_attention(batch: Batch) -> Array:
    """Return attention by 16 sines and cosines of random projections, for keys of an encoder.

    Mechanism: rfa
    Padding: zeroed: the features of padded keys are 0
    Mates: not seen
    Source:
        Noahs-ARK/RFA@b075fa8a22cb48f61253b3feaf3175eff0e53819:random_feature_attention/cross_attention.py:93-106,254-270
        Noahs-ARK/RFA@b075fa8a22cb48f61253b3feaf3175eff0e53819:random_feature_attention/utils.py:100-120
    """
    drawn = _directions(batch)
    directions = (
        x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-3) for x in (batch.q, batch.k)
    )
    q, k = (
        0.1 * np.concatenate([np.sin(x @ drawn.T), np.cos(x @ drawn.T)], axis=-1)
        for x in directions
    )
    k = k * batch.real
    normaliser = np.maximum(np.abs(np.einsum("blhm,bhm->blh", q, k.sum(1))), 1)
    out = np.einsum("blhm,bshm,bshd->blhd", q, k, batch.v, optimize=True)
    return out / normaliser[..., None]


def hedgehog(batch: Batch) -> Array:
    """Return causal kernel attention with features softmax(x W) and softmax(-x W).

    Mechanism: hedgehog
    Padding: zeroed: the features of padded keys are 0; causal, so that a padded end is not seen
    Mates: not seen
    Source:
        HazyResearch/lolcats@375df84f58417a57b78c875fa3f8fa76e84ab12e:src/model/linear_attention/linear_attention.py:336-375
    """
    w = weights(batch.q.shape[-1], batch.q.shape[-1])
    q, k = (
        np.concatenate([softmax(array @ w), softmax(-array @ w)], axis=-1)
        for array in (batch.q, batch.k)
    )
    scores = np.tril(np.einsum("blhm,bshm->bhls", q, k * batch.real))
    return np.einsum("bhls,bshd->blhd", scores / scores.sum(-1, keepdims=True), batch.v)


def luna(batch: Batch) -> Array:
    """Return attention of the tokens to 4 learned vectors that have attended to the tokens.

    Mechanism: luna
    Padding: masked: minus infinity is added to the scores of padded keys
    Mates: not seen
    Source:
        XuezheMax/fairseq-apollo@3644d2064b1a1751db45654cc1d01a08ab3a860f:fairseq/modules/luna_attention.py:101-136,197-214
    """
    learned = np.broadcast_to(weights(4, *batch.q.shape[2:]), (len(batch.q), 4, *batch.q.shape[2:]))
    packed = attend(learned, batch.k, batch.v, masked(batch.mask, -np.inf))
    return attend(batch.q, packed, packed)


def aft_simple(batch: Batch) -> Array:
    """Return sigmoid(q) times the sum of the values, weighted by softmax(k) over the positions.

    Mechanism: aft-simple
    Padding: masked: minus infinity is added to padded keys
    Mates: not seen
    Source:
        idiap/fast-transformers@2ad36b97e64cb93862937bd21fcc9568d989561f:fast_transformers/attention/aft_attention.py:108-127
    """
    k = batch.k + np.where(batch.mask, 0, -np.inf)[:, :, None, None]
    return sigmoid(batch.q) * (softmax(k, axis=1) * batch.v).sum(1, keepdims=True)


def efficient(batch: Batch) -> Array:
    """Return softmax(q) (softmax(k)^T v), with the softmax of the keys over the positions.

    Mechanism: efficient
    Padding: read: there is no padding mask
    Mates: not seen
    Source:
        cmsflash/efficient-attention@46a5f9eaf09470affb0ab30932b7748cc3c871ef:efficient_attention.py:20-51
    """
    context = np.einsum("bshm,bshd->bhmd", softmax(batch.k, axis=1), batch.v)
    return np.einsum("blhm,bhmd->blhd", softmax(batch.q), context)


def _linformer(q: Array, k: Array, v: Array, seed_of_values: int) -> Array:
    """Return softmax attention to 4 projections of the positions of k and of v."""
    of_keys, of_values = (
        weights(4, 64, seed=seed)[:, : k.shape[1]] for seed in (0, seed_of_values)
    )
    k, v = np.einsum("kl,blhd->bkhd", of_keys, k), np.einsum("kl,blhd->bkhd", of_values, v)
    return attend(q, k, v)


def _directions(batch: Batch) -> Array:
    """Return 16 fixed normal vectors, of shape (16, d)."""
    return np.random.RandomState(0).standard_normal((16, batch.q.shape[-1]))


def _favor(x: Array, drawn: Array, largest_over: tuple[int, ...], epsilon: float) -> Array:
    """Return positive features exp(w x - |x|^2 / 2 - largest w x) + epsilon, of x / d^(1/4)."""
    x = x * x.shape[-1] ** -0.25
    projected = x @ drawn.T
    shift = (x**2).sum(-1, keepdims=True) / 2 + projected.max(largest_over, keepdims=True)
    return np.exp(projected - shift) + epsilon


def _iterated_inverse(matrix: Array) -> Array:
    """Return the pseudo-inverse after 6 iterations from a start that is scaled for all matrices."""
    identity = 1.0 * np.eye(matrix.shape[-1])
    inverse = matrix.swapaxes(-1, -2) / matrix.sum(-2).max()
    for _ in range(6):
        product = matrix @ inverse
        inner = 15 * identity - product @ (7 * identity - product)
        inverse = inverse @ (13 * identity - product @ inner) / 4
    return inverse


def _gaussian(x: Array, y: Array) -> Array:
    """Return exp(-|x - y|^2 / 2) for rows x and y."""
    squares = (x**2).sum(-1)[..., :, None] + (y**2).sum(-1)[..., None, :]
    return np.exp(x @ y.swapaxes(-1, -2) - squares / 2)
