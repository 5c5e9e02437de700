"""The classifier: the shared encoder and a head."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lra_bench.contracts import Task
from lra_bench.model.encoder import Encoder
from lra_bench.settings import ModelSettings


class Classifier(nnx.Module):
    """Encoder and head; for paired tasks one encoder for both and [x1, x2, x1 * x2, x1 - x2]."""

    def __init__(
        self,
        task: Task,
        settings: ModelSettings,
        attention: str,
        options: dict[str, Any],
        rngs: nnx.Rngs,
    ) -> None:
        self.encoder = Encoder(task, settings, attention, options, rngs)
        features = settings.emb_dim * (4 if task.paired else 1)
        self.hidden = nnx.Linear(features, settings.ffn_dim, rngs=rngs)
        self.out = nnx.Linear(settings.ffn_dim, task.num_classes, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "b *two l"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "b classes"]:
        """Return class logits in float32; without `rngs` there is no dropout."""
        encoded = self.encoder(tokens.reshape(-1, tokens.shape[-1]), rngs)
        if tokens.ndim == 3:
            x1, x2 = encoded.reshape(tokens.shape[0], 2, -1).swapaxes(0, 1)
            encoded = jnp.concatenate([x1, x2, x1 * x2, x1 - x2], axis=1)
        return self.out(jax.nn.relu(self.hidden(encoded)))
