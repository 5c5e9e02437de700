"""The classifier: the shared encoder and a head."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lra_bench.contracts import Task
from lra_bench.model import initial
from lra_bench.model.encoder import Encoder
from lra_bench.settings import ModelSettings


class Classifier(nnx.Module):
    """Encoder and head; for paired tasks one encoder for both, and a head on both vectors."""

    def __init__(
        self,
        task: Task,
        settings: ModelSettings,
        attention: str,
        options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        self.encoder = Encoder(task, settings, attention, options, rngs)
        width, self.pair_features = settings.ffn_dim, settings.pair_features
        vectors = {"all": 4, "vectors": 2}[self.pair_features] if task.paired else 1
        linear = functools.partial(_linear, settings.init, rngs)
        self.hidden = linear(settings.emb_dim * vectors, width)
        second = task.paired and settings.pair_head_layers == 2
        self.second = linear(width, width // 2) if second else None
        width = width // 2 if second else width
        self.out = linear(width, task.num_classes)

    def __call__(
        self, tokens: Int[Array, "b *two l"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "b classes"]:
        """Return class logits in float32; without `rngs` there is no dropout."""
        encoded = self.encoder(tokens.reshape(-1, tokens.shape[-1]), rngs)
        return self.classify(encoded, tokens.shape[0])

    def classify(self, encoded: Float[Array, "n e"], examples: int) -> Float[Array, "b classes"]:
        """Return class logits from one vector an example, or from two that follow each other."""
        if len(encoded) > examples:
            x1, x2 = encoded.reshape(examples, 2, -1).swapaxes(0, 1)
            more = [x1 * x2, x1 - x2] if self.pair_features == "all" else []
            encoded = jnp.concatenate([x1, x2, *more], axis=1)
        hidden = jax.nn.relu(self.hidden(encoded))
        if self.second is not None:
            hidden = jax.nn.relu(self.second(hidden))
        return self.out(hidden)


def _linear(scheme: initial.Scheme, rngs: nnx.Rngs, inputs: int, outputs: int) -> nnx.Linear:
    kernel, bias = initial.head(scheme, inputs)
    return nnx.Linear(inputs, outputs, kernel_init=kernel, bias_init=bias, rngs=rngs)
