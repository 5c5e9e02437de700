"""Measure how FAVOR+'s error grows through the layers: Fig. 14 of the Performer paper."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd
from flax import nnx
from jaxtyping import Array, Float, Key

from lra_bench.analysis import plots
from lra_bench.contracts import Dims
from lra_bench.display.progress import Display
from lra_bench.model.encoder import Block, SelfAttention
from lra_bench.registry import REFERENCE
from lra_bench.settings import ModelSettings

# The options of performer-softmax for each line.
VARIANTS: dict[str, dict[str, Any]] = {
    "orthogonal": {"projection": "orthogonal"},
    "iid": {"projection": "iid"},
    "regularized": {"regularized": True},
    "hyperbolic": {"estimator": "hyperbolic"},
    "trigonometric": {"estimator": "trigonometric"},
}
_SHOWN = (1, 2, 4, 6, 8, 12, 18, 24, 36)


@dataclass(frozen=True)
class Setup:
    """The parameters of the study.

    Attributes:
        layers, emb_dim, ffn_dim, num_heads: of the Transformer; head_dim is emb_dim / num_heads.
        length: the number of tokens, whose embeddings are iid N(0, 1).
        features: the number of projections m.
        draws: the number of independent draws of weights, inputs and projections.
        seed: of all random numbers.
    """

    layers: int = 12
    emb_dim: int = 128
    ffn_dim: int = 256
    num_heads: int = 4
    length: int = 512
    features: int = 256
    draws: int = 5
    seed: int = 0


def run(setup: Setup, out: Path, display: Display) -> bool:
    """Measure; write propagation.csv, propagation-draws.csv and the figure; show a table."""
    out.mkdir(parents=True, exist_ok=True)
    errors = measure(setup, display)
    groups = errors.groupby(["variant", "layer"], sort=False)[["relative_error", "mse"]]
    summary = groups.agg(["mean", "std", "sem"])
    summary.columns = [f"{name}_{statistic}" for name, statistic in summary.columns]
    summary = summary.reset_index()
    errors.to_csv(out / "propagation-draws.csv", index=False)
    summary.to_csv(out / "propagation.csv", index=False)
    title = (
        f"L = {setup.length:,}, {setup.num_heads} heads of d = {setup.emb_dim // setup.num_heads}, "
        f"m = {setup.features}, {setup.draws} draws, mean ± sd"
    )
    plots.propagation(summary, title, out / "propagation.png")
    display.line("Relative error, mean |Performer - Transformer| / mean |Transformer|, after layer")
    display.markdown(_table(summary))
    return True


def measure(setup: Setup, display: Display) -> pd.DataFrame:
    """Return the error after each layer, by variant and draw; weights are the Transformer's."""
    rows = []
    with display.bar("propagation", setup.draws * len(VARIANTS)) as bar:
        for draw in range(setup.draws):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(setup.seed), draw), 3)
            x = jax.random.normal(keys[0], (1, setup.length, setup.emb_dim))
            exact = outputs(setup, REFERENCE, {}, keys[1], keys[2], x)
            for name, options in VARIANTS.items():
                options = {"num_features": setup.features, **options}
                approximate = outputs(setup, "performer-softmax", options, keys[1], keys[2], x)
                for layer, (a, b) in enumerate(zip(approximate, exact, strict=True), start=1):
                    relative = float(jnp.mean(jnp.abs(a - b)) / jnp.mean(jnp.abs(b)))
                    mse = float(jnp.mean(jnp.square(a - b)))
                    rows.append((name, layer, draw, relative, mse))
                bar(len(rows) // setup.layers, name)
    return pd.DataFrame(rows, columns=["variant", "layer", "draw", "relative_error", "mse"])


def outputs(
    setup: Setup,
    attention: str,
    options: dict[str, Any],
    weight_key: Key[Array, ""],
    sample_key: Key[Array, ""],
    x: Float[Array, "b l e"],
) -> Float[Array, "n b l e"]:
    """Return each layer's output; the parameters depend on `weight_key` only, for any attention."""
    fixed = tuple(sorted(options.items()))
    return _outputs(setup, attention, fixed, weight_key, sample_key, x)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _outputs(
    setup: Setup,
    attention: str,
    options: tuple[tuple[str, Any], ...],
    weight_key: Key[Array, ""],
    sample_key: Key[Array, ""],
    x: Float[Array, "b l e"],
) -> Float[Array, "n b l e"]:
    mask = jnp.ones(x.shape[:2], bool)

    def layer(x: Array, number: Array) -> tuple[Array, Array]:
        weights, samples = (jax.random.fold_in(key, number) for key in (weight_key, sample_key))
        block = _block(setup, attention, dict(options), samples)
        nnx.update(block, nnx.state(_block(setup, REFERENCE, {}, weights), nnx.Param))
        x = block(x, mask, None)
        return x, x

    return jax.lax.scan(layer, x, jnp.arange(setup.layers))[1]


def _block(setup: Setup, attention: str, options: dict[str, Any], key: Key[Array, ""]) -> Block:
    settings = ModelSettings(
        num_layers=setup.layers,
        emb_dim=setup.emb_dim,
        ffn_dim=setup.ffn_dim,
        num_heads=setup.num_heads,
        head_dim=setup.emb_dim // setup.num_heads,
        positions="learned",
        pooling="mean",
        dropout=0.0,
        dropout_bits="threefry",
        dtype="float32",
    )
    rngs = nnx.Rngs(key)
    dims = Dims(setup.num_heads, settings.head_dim, setup.length)
    return Block(settings, SelfAttention(settings, dims, attention, options, rngs), rngs)


def _table(summary: pd.DataFrame) -> str:
    shown = summary[summary["layer"].isin([*_SHOWN, summary["layer"].max()])]
    table = shown.pivot_table(
        index="variant", columns="layer", values="relative_error_mean", sort=False
    )
    return table.map(lambda x: f"{x:.3f}").to_markdown()
