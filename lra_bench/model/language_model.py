"""The language model: the shared encoder and a head at each token."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lra_bench.contracts import Task
from lra_bench.model import initial
from lra_bench.model.encoder import Encoder
from lra_bench.settings import ModelSettings


class LanguageModel(nnx.Module):
    """Encoder and a dense layer from each token's vector to logits over the vocabulary."""

    def __init__(
        self,
        task: Task,
        settings: ModelSettings,
        attention: str,
        options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        self.encoder = Encoder(task, settings, attention, options, rngs)
        kernel, bias = initial.head(settings.init, settings.emb_dim)
        self.out = nnx.Linear(
            settings.emb_dim, task.vocab_size, kernel_init=kernel, bias_init=bias, rngs=rngs
        )

    def __call__(
        self, tokens: Int[Array, "b l"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "b l v"]:
        """Return logits in float32 of a token at each position; without `rngs` no dropout."""
        vectors, _ = self.encoder.vectors(tokens, rngs)
        return self.out(vectors[:, : tokens.shape[1]].astype(jnp.float32))
