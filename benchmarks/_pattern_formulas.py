"""The formulas by which published code attends to some of the tokens: near, hashed or at random.

Each function restates one formula in NumPy, from the source that its docstring names, with small
blocks and few features. Its docstring says what that code does with padding and with batch mates.
"""

import numpy as np
from _formulas import Array, Batch, attend, masked, softmax, weights


def lra_local(batch: Batch) -> Array:
    """Return softmax attention within groups of 4 tokens.

    The group g of n holds tokens g, n + g, 2 n + g, ..., but is masked by the padding of tokens
    4 g, 4 g + 1, ... Zeros fill one more group, and count as real.

    Mechanism: local
    Padding: read: the mask belongs to other tokens; 1 to 4 zeros are appended and attended to
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/local/local_attention.py:228-237,318-399
    """
    length = batch.mask.shape[1]
    q, k, v, mask = _filled(batch, 4)
    q, k, v = (_strided(array, 4) for array in (q, k, v))
    out = _grouped_attention(q, k, v, _pairs(mask, 4))
    return out.reshape(len(mask), -1, *out.shape[3:])[:, :length]


def lra_sparse(batch: Batch) -> Array:
    """Return causal softmax attention to the own block of 8 tokens and the last 2 of each block.

    Mechanism: sparse
    Padding: masked: -1e10 is added to the scores of padded keys
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/sparse_transformer/sparse_attention.py:71-95,201-249
    """
    index = np.arange(batch.mask.shape[1])
    query, key = index[:, None], index[None, :]
    summary = (key % 8 == 0) | (key % 8 >= 8 - 2)
    pattern = (key <= query) & ((query // 8 == key // 8) | summary)
    return attend(batch.q, batch.k, batch.v, np.where(pattern & _both(batch.mask), 0, -1e10))


def lra_longformer(batch: Batch) -> Array:
    """Return softmax attention within a window of 8 tokens.

    Mechanism: longformer
    Padding: masked: -1e10 is added to the scores of padded keys
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/longformer/longformer_attention.py:59-143
    """
    pattern = _window(batch.mask.shape[1], 4)
    return attend(batch.q, batch.k, batch.v, np.where(pattern & _both(batch.mask), 0, -1e10))


def allenai_longformer(batch: Batch) -> Array:
    """Return softmax attention within a window of 4 tokens on both sides.

    Mechanism: longformer
    Padding: masked: -10,000 is added to the scores of padded keys
    Mates: not seen
    Source:
        allenai/longformer@caefee668e39cacdece7dd603a0bebf24df6d8ca:longformer/longformer.py:150-192
    """
    outside = np.where(_window(batch.mask.shape[1], 4), 0, -np.inf)
    return attend(batch.q, batch.k, batch.v, outside + masked(batch.mask, -10_000))


def lra_sinkhorn(batch: Batch) -> Array:
    """Return softmax attention within groups of 4 tokens, plus attention to "sorted" groups.

    The groups are those of lra_local. The sum that sorts them shares no index between keys and
    weights, so each sorted group is the sum of all groups.

    Mechanism: sinkhorn
    Padding: read: the mask belongs to other tokens; the sums of keys and values have padding
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/sinkhorn_transformer/sinkhorn_attention.py:339-494
    """
    q, k, v = (_strided(array, 4) for array in (batch.q, batch.k, batch.v))
    groups = q.shape[2]
    order = softmax(k.sum(1) @ weights(k.shape[-1], 16)[:, :groups])
    sorted_k, sorted_v = (np.einsum("bskhd,bnhl->bsnhd", array, order) for array in (k, v))
    pairs = _pairs(batch.mask, 4)
    anywhere = np.broadcast_to(pairs.any(1, keepdims=True), pairs.shape)
    out = _grouped_attention(q, k, v, pairs) + _grouped_attention(q, sorted_k, sorted_v, anywhere)
    return out.reshape(batch.q.shape)


def lra_bigbird(batch: Batch) -> Array:
    """Return softmax attention to first, last, neighbouring and random blocks of 4 tokens.

    Zeros fill the last block, or one more block, and count as real. The random blocks are other
    ones than the source draws, but chosen among the same.

    Mechanism: bigbird
    Padding: masked, but 1 to 4 zeros are appended and attended to, and the padded length chooses
        the random blocks
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/bigbird/bigbird_attention.py:24-66,317-404,482-491
    """
    q, k, v, mask = _filled(batch, 4)
    blocks = mask.shape[1] // 4
    out = _block_attention(q, k, v, mask, _bigbird_blocks(blocks, drawn_below=blocks - 1))
    return out[:, : batch.mask.shape[1]]


def google_bigbird(batch: Batch) -> Array:
    """Return softmax attention to first, last, neighbouring and random blocks of 4 tokens.

    The random blocks are drawn among the first ones, as in the source among the first 1,024 tokens,
    but are other ones.

    Mechanism: bigbird
    Padding: masked, but the last block of the padded length is the global one, and padded blocks
        are drawn too
    Mates: not seen
    Source:
        google-research/bigbird@5e7d375950f9b001e13f1bbafb814c2956ed80af:bigbird/core/attention.py:240-290,467-634,733-746
    """
    times = _bigbird_blocks(batch.mask.shape[1] // 4, drawn_below=5)
    return _block_attention(batch.q, batch.k, batch.v, batch.mask, times)


def google_routing(batch: Batch) -> Array:
    """Return softmax attention within 4 clusters of the 8 nearest queries and the 8 nearest keys.

    Mechanism: routing
    Padding: masked after the clusters are filled: padded tokens take places of real ones
    Mates: not seen outside training; in training all examples move the centroids
    Source:
        google-research/google-research@0c1bbe5fc971a1de1a427debc814e66ab4f1e7fa:routing_transformer/utils.py:clustered_local_attention_helper
    """
    q, k = _normalised(batch.q), _normalised(batch.k)
    centroids = _normalised(weights(q.shape[2], 4, q.shape[3]))
    total, count = np.zeros_like(batch.v), np.full(batch.q.shape[:3], 1e-2)
    for b, h, c in np.ndindex(len(q), *centroids.shape[:2]):
        queries, keys = (
            np.sort(np.argsort(-array[b, :, h] @ centroids[h, c], kind="stable")[:8])
            for array in (q, k)
        )
        scores = q[b, queries, h] @ k[b, keys, h].T + np.where(batch.mask[b, keys], 0, -1e9)
        total[b, queries, h] += softmax(scores) @ batch.v[b, keys, h]
        count[b, queries, h] += 1
    return total / count[..., None]


def lra_reformer(batch: Batch) -> Array:
    """Return softmax attention of queries to queries, in 4 chunks of tokens sorted by their hash.

    Mechanism: reformer
    Padding: read: the layer takes a mask and does not use it; 1 to 4 zeros are appended
    Mates: not seen
    Source:
        google-research/long-range-arena@cd31e5c6b8e5bceabd28de2d2afb23f7ae5d36d8:lra_benchmarks/models/reformer/reformer_attention.py:79-215,306-339
    """
    length = batch.mask.shape[1]
    q, _, v, _ = _filled(batch, 4)
    chunks = _sorted_by_hash(_hash(q, 4), q.shape[1] // 4)
    out = np.zeros_like(v)
    for b, h, now, before in _with_previous(chunks, wraps=True):
        keys = np.concatenate([now, before])
        scores = q[b, now, h] @ q[b, keys, h].T * np.sqrt(q.shape[-1])
        out[b, now, h] = softmax(scores) @ v[b, keys, h]
    return out[:, :length]


def idiap_reformer(batch: Batch) -> Array:
    """Return softmax attention of queries to queries, in chunks of 4 tokens sorted by their hash.

    Mechanism: reformer
    Padding: masked, but the padded tokens are sorted into the buckets with the others
    Mates: not seen
    Source:
        idiap/fast-transformers@2ad36b97e64cb93862937bd21fcc9568d989561f:fast_transformers/attention/reformer_attention.py:68-150
    """
    q, v = batch.q, batch.v
    k = q / np.linalg.norm(q, axis=-1, keepdims=True) * batch.real
    out, bias = np.zeros_like(v), np.where(batch.mask, 0, -np.inf)
    for b, h, now, before in _with_previous(_sorted_by_hash(_hash(k, 8), 4), wraps=False):
        keys = np.concatenate([before, now])
        scores = q[b, now, h] @ k[b, keys, h].T / np.sqrt(q.shape[-1]) + bias[b, keys]
        none = np.isinf(scores).all(-1, keepdims=True)
        out[b, now, h] = softmax(np.where(none, 0, scores)) @ v[b, keys, h]
    return out


def h_transformer(batch: Batch) -> Array:
    """Return attention to the own block of 4 tokens, and to coarser ones of the other half.

    Mechanism: h-transformer
    Padding: masked, but each token of a block of nothing but padding gets weight 1, and the padded
        length sets the number of levels
    Mates: not seen
    Source:
        lucidrains/h-transformer-1d@66227df1f6923ff6834686fa7d27b6f9e19a8391:h_transformer_1d/h_transformer_1d.py:17-33,135-272
    """
    length = batch.q.shape[1]
    full = 2 ** int(np.ceil(np.log2(length)))
    shape = ((0, 0), (0, full - length))
    arrays = (np.pad(array, (*shape, (0, 0), (0, 0))) for array in (batch.q, batch.k, batch.v))
    q, k, v = (array.swapaxes(1, 2) for array in arrays)
    mask = np.broadcast_to(np.pad(batch.mask, shape)[:, None], q.shape[:3])
    q = q / np.sqrt(q.shape[-1])
    level = (q, k, v, mask)
    total, weight = _block_sums(*level, swapped=False)
    for number in range(int(np.log2(full // 4)) - 1):
        level = _coarser(*level) if number else level
        sums = _block_sums(*level, swapped=True)
        total = total + np.repeat(sums[0], 2**number, axis=2)
        weight = weight + np.repeat(sums[1], 2**number, axis=2)
    return (total / (weight[..., None] + 1e-8)).swapaxes(1, 2)[:, :length]


def _both(mask: Array) -> Array:
    """Return True where query and key are real, of shape (b, 1, l, l)."""
    return (mask[:, :, None] & mask[:, None, :])[:, None]


def _window(length: int, width: int) -> Array:
    """Return True where query and key are at most `width` tokens apart, of shape (l, l)."""
    index = np.arange(length)
    return np.abs(index[:, None] - index) <= width


def _filled(batch: Batch, block: int) -> tuple[Array, Array, Array, Array]:
    """Append 1 to `block` zeros that count as real, so that the length is a multiple of `block`."""
    extra = ((0, 0), (0, block - batch.mask.shape[1] % block))
    q, k, v = (np.pad(array, (*extra, (0, 0), (0, 0))) for array in (batch.q, batch.k, batch.v))
    return q, k, v, np.pad(batch.mask, extra, constant_values=True)


def _strided(array: Array, size: int) -> Array:
    """Return groups of `size` tokens, n apart for n groups, of shape (b, size, n, h, d)."""
    return array.reshape(len(array), size, -1, *array.shape[2:])


def _pairs(mask: Array, size: int) -> Array:
    """Return True where both of a block of consecutive tokens are real, (b, n, 1, size, size)."""
    blocks = mask.reshape(len(mask), -1, size)
    return (blocks[..., :, None] & blocks[..., None, :])[:, :, None]


def _grouped_attention(q: Array, k: Array, v: Array, pairs: Array) -> Array:
    """Return softmax attention within each group, of shape (b, size, n, h, d).

    The bias of other pairs is so large that it leaves nothing of a score, in float64 as -1e10 does
    in the source's float32.
    """
    scores = np.einsum("bsnhd,btnhd->bnhst", q, k) / np.sqrt(q.shape[-1])
    return np.einsum("bnhst,btnhd->bsnhd", softmax(scores + np.where(pairs, 0, -1e30)), v)


def _bigbird_blocks(blocks: int, drawn_below: int) -> Array:
    """Return how often a block of queries attends to a block of keys, of shape (n, n)."""
    draw = np.random.RandomState(0).permutation
    times = np.ones((blocks, blocks))
    for row in range(1, blocks - 1):
        times[row] = np.abs(np.arange(blocks) - row) <= 1
        times[row, [0, -1]] = 1
        others = [block for block in range(1, drawn_below) if abs(block - row) > 1]
        times[row, draw(others)[0]] += 1
    return times


def _block_attention(q: Array, k: Array, v: Array, mask: Array, times: Array) -> Array:
    """Return softmax attention to blocks of 4 keys, each counted as often as `times` says."""
    with np.errstate(divide="ignore"):
        chosen = np.log(np.kron(times, np.ones((4, 4))))
    return attend(q, k, v, chosen + masked(mask, -10_000))


def _normalised(x: Array) -> Array:
    """Return x with mean 0 and variance 1 along its features."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def _hash(x: Array, buckets: int) -> Array:
    """Return the bucket of each vector, of shape (b, l, h): the largest of w x and -w x."""
    projected = x @ weights(x.shape[-1], buckets // 2)
    return np.concatenate([projected, -projected], axis=-1).argmax(-1)


def _sorted_by_hash(buckets: Array, size: int) -> Array:
    """Return the tokens in the order of their buckets, in chunks, of shape (b, n, size, h)."""
    order = np.argsort(buckets, axis=1, kind="stable")
    return order.reshape(len(order), -1, size, order.shape[-1])


def _with_previous(chunks: Array, *, wraps: bool) -> list[tuple[int, int, Array, Array]]:
    """Return example, head, chunk, and the chunk before it: for the first, the last or none."""
    found = []
    for b, n, h in np.ndindex(len(chunks), chunks.shape[1], chunks.shape[3]):
        before = chunks[b, n - 1, :, h] if n or wraps else chunks[b, n, :0, h]
        found.append((b, h, chunks[b, n, :, h], before))
    return found


def _coarser(q: Array, k: Array, v: Array, mask: Array) -> tuple[Array, Array, Array, Array]:
    """Return means of two queries and of two keys, sums of two values; padding is left out."""
    pairs = mask.reshape(*mask.shape[:2], -1, 2)
    q_sum, k_sum, v_sum = (
        (array.reshape(*pairs.shape, array.shape[-1]) * pairs[..., None]).sum(3)
        for array in (q, k, v)
    )
    count = np.maximum(pairs.sum(-1, keepdims=True), 1)
    return q_sum / count, k_sum / count, v_sum, pairs.max(-1)


def _block_sums(q: Array, k: Array, v: Array, mask: Array, *, swapped: bool) -> tuple[Array, Array]:
    """Return weighted sums of values and sums of weights, from the own block or its neighbour."""
    q, k, v, real = (
        array.reshape(*array.shape[:2], -1, 4, *array.shape[3:]) for array in (q, k, v, mask)
    )
    keys = np.arange(q.shape[2]) ^ 1 if swapped else np.arange(q.shape[2])
    pairs = real[..., :, None] & real[:, :, keys][..., None, :]
    scores = np.where(pairs, q @ k[:, :, keys].swapaxes(-1, -2), -np.finfo(np.float32).max)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    total = powers @ v[:, :, keys]
    return total.reshape(*q.shape[:2], -1, v.shape[-1]), powers.sum(-1).reshape(*q.shape[:2], -1)
