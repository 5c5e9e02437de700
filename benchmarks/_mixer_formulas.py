"""The formulas by which published code mixes the tokens of x, without queries and keys of others.

Each function restates one formula in NumPy, from the source that its docstring names, with few
features. Its docstring says what that code does with padding and with batch mates. Kernels of
convolutions and rates of states are fixed waves, not those of the source.
"""

import numpy as np
from _formulas import Array, Batch, sigmoid, softmax, weights


def lra_synthesizer(batch: Batch) -> Array:
    """Return softmax(R) v, with a learned matrix R of rank 4 over positions.

    Mechanism: synthesizer
    Padding: read: the layer takes a mask and does not use it unless dot products are added
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/synthesizer/synthesizer_attention.py:112-132,278-301,390-440
    """
    length = batch.x.shape[1]
    matrix = weights(64, 4)[:length] @ weights(4, 64, seed=1)[:, :length]
    return softmax(matrix) @ batch.x


def fnet(batch: Batch) -> Array:
    """Return the real part of the Fourier transform over positions and features.

    Mechanism: fnet
    Padding: read: the layer takes a mask and deletes it
    Mates: not seen
    Source:
        google-research/google-research@1d4d2f1aa6f2883a790d2ae46a6ee8ab150d8f31:f_net/layers.py:FourierTransform
    """
    return np.real(np.fft.fft2(batch.x))


def s4(batch: Batch) -> Array:
    """Return the convolution of x with two kernels, forward and backward.

    Mechanism: s4
    Padding: zeroed: padded inputs are 0
    Mates: not seen
    Source:
        state-spaces/s4@e757cef57d89e448c413de7325ed5601aceaac13:models/s4/s4.py:1892-1919
    """
    return _convolved(_zeroed(batch), backward=True)


def s4d(batch: Batch) -> Array:
    """Return the convolution of x with one kernel, forward.

    Mechanism: s4d
    Padding: not masked; causal, so that a padded end is not seen
    Mates: not seen
    Source:
        state-spaces/s4@e757cef57d89e448c413de7325ed5601aceaac13:models/s4/s4d.py:88-102
    """
    return _convolved(batch.x, backward=False)


def s5(batch: Batch) -> Array:
    """Return the outputs of a diagonal state space, scanned forward and backward.

    Mechanism: s5
    Padding: read: the scans run over padding; only the final mean leaves it out
    Mates: not seen
    Source:
        lindermanlab/S5@3c18fdb6b06414da35e77b94b9cd855f6a95ef17:s5/ssm.py:60-88,229-247
    """
    width = batch.x.shape[-1]
    decay = np.exp(-0.1 + 1j * np.linspace(0, 3, 8))
    inputs = batch.x @ weights(width, 8)
    back = _scanned(inputs[:, ::-1], decay)[:, ::-1]
    states = np.concatenate([_scanned(inputs, decay), back], axis=-1)
    return 2 * np.real(states @ weights(16, width, seed=1)) + batch.x


def mega(batch: Batch) -> Array:
    """Return gated attention of one head, with queries and keys from a moving average of x.

    Mechanism: mega
    Padding: zeroed for the moving average, and masked: scores of padded keys are minus infinity
    Mates: not seen
    Source:
        facebookresearch/mega@aeaa4b44592cd1d60a9a34554e359eda2a62b03b:fairseq/modules/exponential_moving_average.py:174-214
        facebookresearch/mega@aeaa4b44592cd1d60a9a34554e359eda2a62b03b:fairseq/modules/moving_average_gated_attention.py:160-186,220-342
    """
    width = batch.x.shape[-1]
    average = _silu(_convolved(_zeroed(batch), backward=True) + batch.x)
    gates = [average @ weights(width, width, seed=seed) for seed in range(5)]
    update, shared, reset, direct = sigmoid(gates[0]), *map(_silu, gates[1:3]), gates[3]
    scores = shared @ np.swapaxes(0.5 * shared + 0.1, 1, 2) / np.sqrt(width)
    scores = np.where(batch.mask[:, None], scores, -np.inf)
    attended = softmax(scores) @ _silu(batch.x @ weights(width, width, seed=5))
    new = _silu(direct + (attended * reset) @ weights(width, width, seed=6))
    return batch.x + update * (new - batch.x)


def long_convolution(batch: Batch) -> Array:
    """Return the convolution of x with two kernels, forward and backward.

    Mechanism: long-conv
    Padding: zeroed: padded inputs are 0
    Mates: not seen
    Source:
        HazyResearch/safari@02220c69d247e5473616cd053a443ad99fd2559b:src/models/sequence/long_conv.py:109-152
    """
    return _convolved(_zeroed(batch), backward=True)


def sgconv(batch: Batch) -> Array:
    """Return the convolution of x with two kernels, forward and backward.

    Mechanism: long-conv
    Padding: read: the layer takes no lengths
    Mates: not seen
    Source:
        ctlllll/SGConv@97862df5b42507da0c6920b180ee2a250a1f8968:gconv.py:150-215
    """
    return _convolved(batch.x, backward=True)


def lion(batch: Batch) -> Array:
    """Return attention without softmax, with scores that decay by a gate of each token between.

    Mechanism: lion
    Padding: masked: scores of padded keys are 0
    Mates: not seen
    Source:
        LIONS-EPFL/LION@32a0136431dea54a634394df756365919635fe9d:Masked_Language_Modeling/src/bert_layers.py:339-376,399
    """
    gates = np.log(1 - sigmoid(batch.x @ weights(batch.x.shape[-1], 1)[:, 0]) + 1e-7)
    passed = np.cumsum(gates, axis=1)
    decay = np.exp(-np.abs(passed[:, :, None] - passed[:, None, :]))
    scores = np.einsum("blhd,bmhd->bhlm", batch.q, batch.k) / np.sqrt(batch.q.shape[-1])
    scores = scores * decay[:, None] * batch.mask[:, None, None, :]
    return np.einsum("bhlm,bmhd->blhd", scores, batch.v)


def gated_deltanet(batch: Batch) -> Array:
    """Return the outputs of the gated delta rule, without its short convolutions.

    Mechanism: gated-deltanet
    Padding: zeroed: padded values are 0; causal, so that a padded end is not seen
    Mates: not seen
    Source:
        NVlabs/GatedDeltaNet@5ddd1e4845336f6b07b506ad77a8c92db9e5478d:lit_gpt/gated_delta_net.py:132-196
    """
    q, k = (array / np.linalg.norm(array, axis=-1, keepdims=True) for array in (batch.q, batch.k))
    v, heads = batch.v * batch.real, batch.q.shape[2]
    keep, write = (
        sigmoid(batch.x @ weights(batch.x.shape[-1], heads, seed=seed))[..., None, None]
        for seed in (0, 1)
    )
    state, out = np.zeros((*q[:, 0].shape, v.shape[-1])), np.zeros_like(v)
    for t in range(q.shape[1]):
        state = keep[:, t] * state
        recalled = np.einsum("bhk,bhkv->bhv", k[:, t], state)
        error = write[:, t] * (v[:, t] - recalled)[:, :, None]
        state = state + k[:, t, :, :, None] * error
        out[:, t] = np.einsum("bhk,bhkv->bhv", q[:, t], state)
    return out


def _zeroed(batch: Batch) -> Array:
    """Return x with 0 for padding."""
    return batch.x * batch.mask[..., None]


def _convolved(x: Array, *, backward: bool) -> Array:
    """Return the sum over s of K[t - s] x[s], with kernels of damped waves for each feature."""
    length, width = x.shape[1:]
    step = np.arange(length)[:, None] - np.arange(length)
    rates = np.linspace(0.05, 0.5, width)
    wave = np.exp(-rates * np.abs(step)[..., None]) * np.cos(rates * step[..., None])
    seen = np.ones_like(step, bool) if backward else step >= 0
    return np.einsum("lmd,bmd->bld", wave * seen[..., None], x)


def _scanned(inputs: Array, decay: Array) -> Array:
    """Return the states s[t] = decay s[t - 1] + inputs[t]."""
    states, state = [], np.zeros(decay.shape, complex)
    for t in range(inputs.shape[1]):
        state = decay * state + inputs[:, t]
        states.append(state)
    return np.stack(states, axis=1)


def _silu(x: Array) -> Array:
    """Return x sigmoid(x)."""
    return x * sigmoid(x)
