"""The encoder that every task and every attention share."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lra_bench.contracts import Dims, Task
from lra_bench.layers import Dense, LayerNorm, gelu, gelu_erf, plus_positions
from lra_bench.model import initial
from lra_bench.model.dropout import Dropout
from lra_bench.model.mechanism import attended, build_attention, share_among
from lra_bench.model.positions import rotated, sinusoids
from lra_bench.registry import ATTENTIONS
from lra_bench.runtime.mesh import by_token
from lra_bench.settings import ModelSettings


class SelfAttention(nnx.Module):
    """Self-attention: projections to heads, the mechanism, the projection back."""

    def __init__(
        self,
        settings: ModelSettings,
        dims: Dims,
        attention: str,
        options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        inner = dims.num_heads * dims.head_dim
        self.name, self.heads = attention, (dims.num_heads, dims.head_dim)
        self.rotary = settings.positions == "rotary"
        bias = settings.projection_bias
        linear = functools.partial(_dense, settings, settings.emb_dim, inner, rngs, bias=bias)
        shared = ATTENTIONS.get(attention).traits.shares_query_key
        self.query = linear()
        self.key = None if shared else linear()
        self.value = linear()
        self.out = _dense(settings, inner, settings.emb_dim, rngs, bias=bias)
        self.attend = build_attention(attention, dims, options, rngs)

    def __call__(
        self,
        x: Float[Array, "b l e"],
        mask: Bool[Array, "b l"],
        rngs: nnx.Rngs | None,
        stream: Float[Array, "b l e"],
    ) -> Float[Array, "b l e"]:
        """Return self-attention over the real tokens; without `rngs` nothing is random."""
        del stream  # for mixers that gate it
        shape = (*x.shape[:2], *self.heads)
        turn = rotated if self.rotary else lambda x: x
        q = turn(self.query(x).reshape(shape))
        k = q if self.key is None else turn(self.key(x).reshape(shape))
        v = self.value(x).reshape(shape)
        attention = attended(self.name, self.attend, q, k, v, mask, rngs=rngs)
        return self.out(attention.reshape(*x.shape[:2], -1))


class Mixer(nnx.Module):
    """A mechanism that takes the place of the whole self-attention: a function of (x, mask)."""

    def __init__(self, dims: Dims, attention: str, options: dict[str, Any], rngs: nnx.Rngs) -> None:
        self.name, self.attend = attention, build_attention(attention, dims, options, rngs)

    def __call__(
        self,
        x: Float[Array, "b l e"],
        mask: Bool[Array, "b l"],
        rngs: nnx.Rngs | None,
        stream: Float[Array, "b l e"],
    ) -> Float[Array, "b l e"]:
        """Return the mixed tokens, to be added to `stream`; without `rngs` nothing is random."""
        return attended(self.name, self.attend, x, mask, rngs=rngs, stream=stream)


def token_mixing(
    settings: ModelSettings, length: int, attention: str, options: dict[str, Any], rngs: nnx.Rngs
) -> SelfAttention | Mixer:
    """Return the part of a block in which tokens see each other, for sequences of that length."""
    dims = Dims(settings.num_heads, settings.head_dim, length, settings.emb_dim)
    if ATTENTIONS.get(attention).traits.mixer:
        return Mixer(dims, attention, options, rngs)
    return SelfAttention(settings, dims, attention, options, rngs)


class Block(nnx.Module):
    """A pre-LN Transformer block: x + attention(LN(x)), then x + FFN(LN(x))."""

    def __init__(
        self, settings: ModelSettings, attention: SelfAttention | Mixer, rngs: nnx.Rngs
    ) -> None:
        self.attention_norm = _norm(settings, rngs)
        self.attention = attention
        self.ffn_norm = _norm(settings, rngs)
        self.ffn_in = _dense(settings, settings.emb_dim, settings.ffn_dim, rngs)
        self.ffn_out = _dense(settings, settings.ffn_dim, settings.emb_dim, rngs)
        self.gelu = {"gelu-tanh": gelu, "gelu-erf": gelu_erf}[settings.activation]
        self.dropout = Dropout(settings.dropout, settings.dropout_bits)
        self.hidden_dropout = Dropout(settings.hidden_dropout, settings.dropout_bits)

    def __call__(
        self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"], rngs: nnx.Rngs | None
    ) -> Float[Array, "b l e"]:
        """Apply the block; without `rngs` there is no dropout."""
        drop = functools.partial(self.dropout, rngs=rngs)
        x += drop(self.attention(self.attention_norm(x), mask, rngs, stream=x))
        hidden = self.hidden_dropout(self.gelu(self.ffn_in(self.ffn_norm(x))), rngs)
        return x + drop(self.ffn_out(hidden))


def _applied(
    block: Block, x: Float[Array, "b l e"], mask: Bool[Array, "b l"], rngs: nnx.Rngs | None
) -> Float[Array, "b l e"]:
    return block(x, mask, rngs)


def _norm(settings: ModelSettings, rngs: nnx.Rngs) -> LayerNorm:
    epsilon = settings.norm_epsilon
    return LayerNorm(settings.emb_dim, dtype=settings.dtype, epsilon=epsilon, rngs=rngs)


def _dense(
    settings: ModelSettings, inputs: int, outputs: int, rngs: nnx.Rngs, *, bias: bool = True
) -> Dense:
    drawn = initial.dense(settings.init, inputs)
    return Dense(inputs, outputs, dtype=settings.dtype, use_bias=bias, drawn=drawn, rngs=rngs)


class Encoder(nnx.Module):
    """Tokens to one vector: embedding, positions, blocks, pooling."""

    def __init__(
        self,
        task: Task,
        settings: ModelSettings,
        attention: str,
        options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        self.pad_id, self.dtype, self.pooling = task.pad_id, settings.dtype, settings.pooling
        self.rotary, self.padded_length = settings.positions == "rotary", settings.padded_length
        self.remat = settings.remat
        cls, vocabulary = settings.pooling == "cls", max(task.vocab_size, settings.vocab_size)
        self.cls_id = vocabulary if cls else None
        length = max(task.max_len, settings.padded_length) + cls
        # Embeddings stay in float32: the gradient of a vector is a sum over all tokens that use it.
        embed = functools.partial(nnx.Embed, features=settings.emb_dim, rngs=rngs)
        drawn = initial.tokens(settings.init, settings.emb_dim, cls=cls)
        self.embed = embed(vocabulary + cls, embedding_init=drawn)
        drawn = initial.positions(settings.init, settings.emb_dim)
        self.positions = (
            embed(length, embedding_init=drawn) if settings.positions == "learned" else None
        )
        self.blocks = nnx.List(
            Block(settings, token_mixing(settings, length, attention, options, rngs), rngs)
            for _ in range(settings.num_layers)
        )
        share_among([block.attention.attend for block in self.blocks])
        self.norm = _norm(settings, rngs)
        self.dropout = Dropout(settings.dropout, settings.dropout_bits)

    def __call__(self, tokens: Int[Array, "b l"], rngs: nnx.Rngs | None) -> Float[Array, "b e"]:
        """Return one vector an example; tokens at padding change nothing."""
        return self.pooled(*self.vectors(tokens, rngs))

    def vectors(
        self, tokens: Int[Array, "b l"], rngs: nnx.Rngs | None
    ) -> tuple[Float[Array, "b m e"], Bool[Array, "b m"]]:
        """Return the vectors of all tokens after the last layer, and which tokens are real."""
        tokens, mask = self._with_mask(tokens)
        x = self.dropout(by_token(self.embedded(tokens)), rngs)
        apply = nnx.remat(_applied) if self.remat else _applied
        for block in self.blocks:
            x = apply(block, x, mask, rngs)
        return self.norm(x), mask

    def embedded(self, tokens: Int[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the vectors of tokens and positions, added; rotary ones come in later."""
        x = self.embed(tokens)
        if not self.rotary:
            x = plus_positions(x, self._positions(tokens.shape[1]))
        return x.astype(self.dtype)

    def _with_mask(self, tokens: Int[Array, "b l"]) -> tuple[Int[Array, "b m"], Bool[Array, "b m"]]:
        tokens = tokens.astype(jnp.int32)
        mask = jnp.ones(tokens.shape, bool) if self.pad_id is None else tokens != self.pad_id
        after = ((0, 0), (0, max(self.padded_length - tokens.shape[1], 0)))
        tokens, mask = (
            jnp.pad(tokens, after, constant_values=self.pad_id or 0),
            jnp.pad(mask, after),
        )
        if self.cls_id is None:
            return tokens, mask
        before = ((0, 0), (1, 0))
        return (
            jnp.pad(tokens, before, constant_values=self.cls_id),
            jnp.pad(mask, before, constant_values=True),
        )

    def _positions(self, length: int) -> Float[Array, "l e"]:
        if self.positions is not None:
            return self.positions.embedding[...][:length]
        return jnp.asarray(sinusoids(length, self.embed.features))

    def pooled(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"]) -> Float[Array, "b e"]:
        """Return one vector a sequence, by the kinds of pooling in `ModelSettings`."""
        x = x.astype(jnp.float32)
        if self.pooling in ("cls", "first"):
            return x[:, 0]
        weights = mask.astype(jnp.float32)
        if self.pooling == "mean-padded":
            weights = jnp.ones_like(weights)
        count = jnp.sum(weights, axis=1, keepdims=True)
        weights /= mask.shape[1] if self.pooling == "mean-all" else jnp.maximum(count, 1)
        return jnp.einsum("bl,ble->be", weights, x)
