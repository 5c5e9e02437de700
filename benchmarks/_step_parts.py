"""The parts of a training step, each as a program of its own: forward and backward pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from lra_bench.contracts import Task
from lra_bench.layers import gelu
from lra_bench.model.classifier import Classifier
from lra_bench.model.mechanism import attended
from lra_bench.registry import ATTENTIONS, IDENTITY
from lra_bench.settings import RunSettings
from lra_bench.training.optim import optimiser

Program = tuple[Callable[..., Any], tuple[Any, ...]]
_PROJECTIONS = ("query", "key", "value", "out")


class Parts:
    """The parts of a step: all layers of a kind, each with inputs of its own.

    Every method returns a function and its arguments. The gradient at an output is the output.

    Args:
        task: the task.
        settings: of the run.
        tokens: token ids (b *two l), without padding.
        labels: classes (b).
    """

    def __init__(
        self, task: Task, settings: RunSettings, tokens: np.ndarray, labels: np.ndarray
    ) -> None:
        self.settings, self.labels = settings, jnp.asarray(labels)
        self.tokens = jnp.asarray(tokens).reshape(-1, tokens.shape[-1])
        self.mask = jnp.ones(self.tokens.shape, bool)
        options, rngs = settings.attention_options, nnx.Rngs(0)
        self.model = Classifier(task, settings.model, settings.attention, options, rngs)
        self.encoder, self.blocks = self.model.encoder, list(self.model.encoder.blocks)
        self._keys = nnx.Rngs(1)

    def _random(self, *features: int) -> Array:
        """Return an array (b l *features) of N(0, 1), in the dtype of the model."""
        shape = (*self.tokens.shape, *features)
        return jax.random.normal(self._keys(), shape).astype(self.settings.model.dtype)

    def _streams(self) -> list[Array]:
        """Return an input (b l e) for each layer normalisation, and so for each dropout."""
        return [self._random(self.settings.model.emb_dim) for _ in range(2 * len(self.blocks) + 1)]

    def embedding(self) -> Program:
        """Return tokens and positions to vectors."""
        return _layers([self.encoder], lambda one: one.embedded(self.tokens), [()])

    def dense(self) -> Program:
        """Return the dense layers of the blocks; identity needs no queries and keys."""
        layers = [layer for block in self.blocks for layer in self._dense_of(block)]
        inputs = [(self._random(len(layer.kernel[...])),) for layer in layers]
        return _layers(layers, lambda one, x: one(x), inputs)

    def _dense_of(self, block: Any) -> list[Any]:
        attention = block.attention
        names = _PROJECTIONS[2 if self.settings.attention == IDENTITY else 0 :]
        used = [getattr(attention, name, None) for name in names]  # a mixer has none of them
        every = (*used, block.ffn_in, block.ffn_out)
        return [layer for layer in every if layer is not None]

    def attention(self) -> Program:
        """Return the mechanism of each block, without the dense layers around it."""
        model, name = self.settings.model, self.settings.attention
        mixer = ATTENTIONS.get(name).traits.mixer

        def attend(one: Any, *arrays: Array) -> Array:
            return attended(name, one.attend, *arrays, self.mask)

        sizes = ((model.emb_dim,),) if mixer else 3 * ((model.num_heads, model.head_dim),)
        inputs = [tuple(self._random(*size) for size in sizes) for _ in self.blocks]
        return _layers([block.attention for block in self.blocks], attend, inputs)

    def layer_norm(self) -> Program:
        """Return the layer normalisations of the encoder."""
        norms = [norm for block in self.blocks for norm in (block.attention_norm, block.ffn_norm)]
        inputs = [(x,) for x in self._streams()]
        return _layers([*norms, self.encoder.norm], lambda one, x: one(x), inputs)

    def gelu(self) -> Program:
        """Return the nonlinearity of each block."""
        inputs = [self._random(self.settings.model.ffn_dim) for _ in self.blocks]
        return _both(lambda xs: [gelu(x) for x in xs]), (inputs,)

    def dropout(self) -> Program:
        """Return the dropout of the embedding and of each sublayer."""

        def drop(xs: list[Array]) -> list[Array]:
            rngs = nnx.Rngs(dropout=0)
            return [self.encoder.dropout(x, rngs) for x in xs]

        return _both(drop), (self._streams(),)

    def head(self) -> Program:
        """Return pooling, the head and the loss."""

        def loss(one: Any, x: Array) -> Array:
            logits = one.classify(one.encoder.pooled(x, self.mask), len(self.labels))
            return optax.softmax_cross_entropy_with_integer_labels(logits, self.labels)

        return _layers([self.model], loss, [(self._streams()[0],)])

    def optimiser(self) -> Program:
        """Return the update of all parameters by gradients that equal them."""
        leaves = jax.tree.leaves(nnx.split(self.model, nnx.Param, ...)[1])
        params = {str(number): leaf for number, leaf in enumerate(leaves)}
        adamw = optimiser(self.settings.train)

        def update(params: Any, state: Any) -> Any:
            changes, state = adamw.update(params, state, params)
            return optax.apply_updates(params, changes), state

        return update, (params, adamw.init(params))


PARTS: dict[str, Callable[[Parts], Program]] = {
    "embedding": Parts.embedding,
    "dense layers": Parts.dense,
    "attention": Parts.attention,
    "LayerNorm": Parts.layer_norm,
    "GELU": Parts.gelu,
    "dropout": Parts.dropout,
    "pooling, head and loss": Parts.head,
    "optimiser": Parts.optimiser,
}


def _layers(modules: list[Any], call: Callable[..., Any], inputs: list[tuple[Any, ...]]) -> Program:
    """Return the call of each module on its own inputs, with gradients of parameters and inputs."""
    graph, params, others = nnx.split(nnx.List(modules), nnx.Param, ...)

    def forward(params: Any, inputs: Any) -> Any:
        merged = nnx.merge(graph, params, others)
        return [call(module, *x) for module, x in zip(merged, inputs, strict=True)]

    return _both(forward), (params, inputs)


def _both(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does the forward and the backward pass."""

    def run(*arguments: Any) -> Any:
        out, pull = jax.vjp(forward, *arguments)
        return out, pull(out)

    return run
