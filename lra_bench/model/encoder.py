"""The encoder that every task and every attention share."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lra_bench.contracts import Dims, Task
from lra_bench.layers import Dense, LayerNorm, gelu, plus_positions
from lra_bench.model.dropout import Dropout
from lra_bench.model.mechanism import attended, build_attention
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
        linear = functools.partial(Dense, settings.emb_dim, inner, dtype=settings.dtype, rngs=rngs)
        shared = ATTENTIONS.get(attention).traits.shares_query_key
        self.query = linear()
        self.key = None if shared else linear()
        self.value = linear()
        self.out = Dense(inner, settings.emb_dim, dtype=settings.dtype, rngs=rngs)
        self.attend = build_attention(attention, dims, options, rngs)

    def __call__(
        self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"], rngs: nnx.Rngs | None
    ) -> Float[Array, "b l e"]:
        """Return self-attention over the real tokens; without `rngs` nothing is random."""
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
        self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"], rngs: nnx.Rngs | None
    ) -> Float[Array, "b l e"]:
        """Return the mixed tokens; without `rngs` nothing is random."""
        return attended(self.name, self.attend, x, mask, rngs=rngs)


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
        norm = functools.partial(LayerNorm, settings.emb_dim, dtype=settings.dtype, rngs=rngs)
        linear = functools.partial(Dense, dtype=settings.dtype, rngs=rngs)
        self.attention_norm = norm()
        self.attention = attention
        self.ffn_norm = norm()
        self.ffn_in = linear(settings.emb_dim, settings.ffn_dim)
        self.ffn_out = linear(settings.ffn_dim, settings.emb_dim)
        self.dropout = Dropout(settings.dropout, settings.dropout_bits)

    def __call__(
        self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"], rngs: nnx.Rngs | None
    ) -> Float[Array, "b l e"]:
        """Apply the block; without `rngs` there is no dropout."""
        drop = functools.partial(self.dropout, rngs=rngs)
        x += drop(self.attention(self.attention_norm(x), mask, rngs))
        return x + drop(self.ffn_out(gelu(self.ffn_in(self.ffn_norm(x)))))


class Encoder(nnx.Module):
    """Tokens to one vector: embedding, positions, blocks, pooling over the real tokens."""

    def __init__(
        self,
        task: Task,
        settings: ModelSettings,
        attention: str,
        options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        self.pad_id, self.dtype = task.pad_id, settings.dtype
        self.rotary = settings.positions == "rotary"
        self.cls_id = task.vocab_size if settings.pooling == "cls" else None
        length = task.max_len + (self.cls_id is not None)
        # Embeddings stay in float32: the gradient of a vector is a sum over all tokens that use it.
        embed = functools.partial(nnx.Embed, features=settings.emb_dim, rngs=rngs)
        init = nnx.initializers.normal(settings.emb_dim**-0.5)
        self.embed = embed(task.vocab_size + (self.cls_id is not None), embedding_init=init)
        self.positions = (
            embed(length, embedding_init=init) if settings.positions == "learned" else None
        )
        self.blocks = nnx.List(
            Block(settings, token_mixing(settings, length, attention, options, rngs), rngs)
            for _ in range(settings.num_layers)
        )
        self.norm = LayerNorm(settings.emb_dim, dtype=settings.dtype, rngs=rngs)
        self.dropout = Dropout(settings.dropout, settings.dropout_bits)

    def __call__(self, tokens: Int[Array, "b l"], rngs: nnx.Rngs | None) -> Float[Array, "b e"]:
        """Return one vector an example; tokens at padding change nothing."""
        tokens, mask = self._with_mask(tokens)
        x = self.dropout(by_token(self.embedded(tokens)), rngs)
        for block in self.blocks:
            x = block(x, mask, rngs)
        return self.pooled(self.norm(x), mask)

    def embedded(self, tokens: Int[Array, "b l"]) -> Float[Array, "b l e"]:
        """Return the vectors of tokens and positions, added; rotary ones come in later."""
        x = self.embed(tokens)
        if not self.rotary:
            x = plus_positions(x, self._positions(tokens.shape[1]))
        return x.astype(self.dtype)

    def _with_mask(self, tokens: Int[Array, "b l"]) -> tuple[Int[Array, "b m"], Bool[Array, "b m"]]:
        tokens = tokens.astype(jnp.int32)
        mask = jnp.ones(tokens.shape, bool) if self.pad_id is None else tokens != self.pad_id
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
        """Return the mean over the real tokens, or the vector of the first token."""
        x = x.astype(jnp.float32)
        if self.cls_id is not None:
            return x[:, 0]
        weights = mask.astype(jnp.float32)
        weights /= jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1)
        return jnp.einsum("bl,ble->be", weights, x)
