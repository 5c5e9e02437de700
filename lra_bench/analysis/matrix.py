"""Draw the attention matrices of a trained model with any mechanism: Figs. 10 to 12 of the paper.

A mixer has no attention matrix; its influences among tokens are drawn instead.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lra_bench.analysis import heat_maps
from lra_bench.contracts import Task
from lra_bench.data.location import locate
from lra_bench.data.obtain import load_data
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError, unknown
from lra_bench.model.encoder import Encoder
from lra_bench.model.mechanism import AttentionFunction
from lra_bench.registry import ATTENTIONS
from lra_bench.training.restore import load_model


@dataclass(frozen=True)
class Setup:
    """The parameters of the study.

    Attributes:
        run_dir: the folder of a run.
        data_root: the root of all data.
        split, example: the example; of two documents, the first is used.
        length: the largest number of its real tokens that the model reads, besides CLS.
        show: the number of tokens in the figure, from the first one, which may be CLS; 0 for all.
    """

    run_dir: Path
    data_root: Path
    split: str = "test"
    example: int = 0
    length: int = 256
    show: int = 0


class Call(NamedTuple):
    """The arguments of one call of a mechanism."""

    q: Float[Array, "b l h d"]
    k: Float[Array, "b l h d"]
    v: Float[Array, "b l h d"]
    mask: Bool[Array, "b l"]


class MixerCall(NamedTuple):
    """The arguments of one call of a mixer."""

    x: Float[Array, "b l e"]
    mask: Bool[Array, "b l"]


def run(setup: Setup, out: Path, display: Display) -> bool:
    """Write matrices.npz, matrix.csv and the heat maps; show a table."""
    settings, task, model = load_model(setup.run_dir)
    location = locate(setup.data_root, task, settings.data_source)
    store = load_data(task, location, display)
    if setup.split not in store.splits:
        raise unknown("split", setup.split, list(store.splits))
    split = store.splits[setup.split]
    if not 0 <= setup.example < len(split):
        raise UsageError(f"--example {setup.example}: {setup.split} has 0 to {len(split) - 1}")
    tokens = real_tokens(task, split.example(setup.example)[0], setup.length)
    layers = layer_matrices(model.encoder, tokens)
    out.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"layer_{n}": x for n, x in enumerate(layers, 1)}
    np.savez_compressed(out / "matrices.npz", **arrays)
    is_causal = bool(settings.attention_options.get("causal"))
    summary = summarise(layers, is_causal=is_causal)
    summary.to_csv(out / "matrix.csv", index=False)
    is_mixer = ATTENTIONS.get(settings.attention).traits.mixer
    what = "Influences among the tokens" if is_mixer else "Attention matrices"
    of = f"{settings.attention}, {task.name}, {setup.split} example {setup.example}"
    cls = ["CLS"] * cls_tokens(model.encoder)
    title = f"{what} of {of}, {'CLS and ' if cls else ''}first {len(tokens)} tokens"
    texts = token_texts(task, tokens)
    axes = heat_maps.Axes(
        texts=None if texts is None else [*cls, *texts][: setup.show or None],
        value="influence" if is_mixer else "attention weight",
        is_causal=is_causal,
    )
    shown = [x[:, : setup.show or None, : setup.show or None] for x in layers]
    few = f", {setup.show} of them shown" if 0 < setup.show < len(layers[0][0]) else ""
    heat_maps.matrices(shown, axes, title + few, out / "matrix.png")
    display.line(title)
    display.markdown(
        summary.astype({"layer": str, "head": str}).to_markdown(index=False, floatfmt=".3f")
    )
    return True


def real_tokens(
    task: Task, tokens: Int[np.ndarray, "*two l"], length: int
) -> Int[np.ndarray, " l"]:
    """Return the first `length` real tokens of an example, or of its first document.

    Raises:
        UsageError: it is no single example, or there is padding before its real tokens, without
            which they would have other positions.
    """
    if tokens.ndim != 1 + task.paired or length < 1:
        expected = "(2, l)" if task.paired else "(l,)"
        raise UsageError(
            f"tokens are {tokens.shape} and length is {length}: give one example, {expected}, such "
            "as tokens[0], and a length from 1 on"
        )
    first = tokens[0] if task.paired else tokens
    if task.pad_id is None:
        return first[:length]
    real = first != task.pad_id
    if (real[1:] > real[:-1]).any():
        raise UsageError("the example has padding (black pixels) before real tokens: can't draw it")
    return first[real][:length]


def token_texts(task: Task, tokens: Int[np.ndarray, " l"]) -> list[str] | None:
    """Return the text of each token; None if a token alone has none, such as a pixel."""
    if task.side is not None or task.paired:
        return None
    texts = [task.to_text(tokens[i : i + 1]).strip() for i in range(len(tokens))]
    # Of a part of a character, or of a sign that depends on its place, the text alone is wrong.
    whole = "".join(task.to_text(tokens).split())
    return texts if "".join("".join(texts).split()) == whole else None


def layer_matrices(
    encoder: Encoder, tokens: Int[np.ndarray, " l"]
) -> list[Float[np.ndarray, "h m m"]]:
    """Return each layer's matrices, one per head, for one example without padding.

    They are of its tokens, after CLS if the model reads one. The mechanism also gets the padding
    that the model adds, but no row or column is of it. A mixer gives one matrix a layer, of
    influences.
    """
    calls = captured(encoder, jnp.asarray(tokens)[None])
    real = cls_tokens(encoder) + len(tokens)
    return [
        np.asarray(_matrix(block.attention.attend, call, real)[0], np.float32)
        for block, call in zip(encoder.blocks, calls, strict=True)
    ]


def cls_tokens(encoder: Encoder) -> int:
    """Return how many tokens the model puts before those of the example: 1 for CLS, or 0."""
    return int(encoder.cls_id is not None)


def _matrix(
    attend: AttentionFunction, call: Call | MixerCall, first: int
) -> Float[Array, "b h m m"]:
    """Return the matrix of the first tokens, (m, m); the others are padding."""
    if isinstance(call, MixerCall):
        return influences(attend, call, first)
    return one_hot_matrix(attend, call, first)


def captured(encoder: Encoder, tokens: Int[Array, "b l"]) -> list[Call | MixerCall]:
    """Return the arguments that each layer's mechanism gets when `tokens` are encoded."""
    graph, state = nnx.split(encoder)
    calls = jax.jit(lambda state, tokens: recorded_calls(nnx.merge(graph, state), tokens))
    return calls(state, tokens)


def recorded_calls(encoder: Encoder, tokens: Int[Array, "b l"]) -> list[Call | MixerCall]:
    """Encode `tokens`; return the arguments that each layer's mechanism got.

    The encoder is changed: its mechanisms record their calls. Give it a copy.
    """
    calls: list[Call | MixerCall] = []
    encoder.remat = False  # what a block is computed twice for can't be taken out of it
    for block in encoder.blocks:
        block.attention.attend = _recording(block.attention.attend, calls)
    encoder(tokens, None)
    return calls


def _recording(attend: AttentionFunction, calls: list[Call | MixerCall]) -> AttentionFunction:
    @functools.wraps(attend)  # which parameters it has tells the model what to give
    def recorded(*arrays: Array, **given: Any) -> Array:
        calls.append(MixerCall(*arrays) if len(arrays) == 2 else Call(*arrays))
        return attend(*arrays, **given)

    return recorded


def one_hot_matrix(
    attend: AttentionFunction, call: Call, first: int | None = None
) -> Float[Array, "b h m m"]:
    """Return the matrix A by which the mechanism multiplies V; see `attention_to`.

    Args:
        attend: the mechanism.
        call: its arguments, of l tokens.
        first: m, how many tokens from the first one on rows and columns are of; None for all.
    """
    batch, length = call.v.shape[:2]
    tokens = jnp.eye(length)[:, :first]
    found = attention_to(attend, call, jnp.broadcast_to(tokens, (batch, *tokens.shape)))
    return found[:, :, :first]


def attention_to(
    attend: AttentionFunction, call: Call, groups: Float[Array, "b l g"]
) -> Float[Array, "b h l g"]:
    """Return the attention of each token to groups of tokens, A G, where groups are G.

    A mechanism is linear in its values: out = A V. If every feature of token j is G_jg, every
    feature of out_i is sum_j A_ij G_jg. Where features have weights of their own, as in AFT, their
    mean is returned. This takes a call for each group, and no l x l matrix if the mechanism has
    none.
    """

    def column(group: Float[Array, "b l"]) -> Float[Array, "b l h"]:
        v = jnp.broadcast_to(group[..., None, None], call.v.shape).astype(call.v.dtype)
        return jnp.mean(attend(call.q, call.k, v, call.mask).astype(jnp.float32), axis=-1)

    return jnp.moveaxis(jax.lax.map(column, jnp.moveaxis(groups, 2, 0)), (0, 3), (3, 1))


def influences(
    mix: AttentionFunction, call: MixerCall, first: int | None = None
) -> Float[Array, "b 1 m m"]:
    """Return how much each token of the input moves each token of the output; rows sum to 1.

    Entry i, j is the Frobenius norm of the derivative of output i by input j, (e, e), divided by
    the sum of its row.

    Args:
        mix: the mixer.
        call: its arguments, of l tokens.
        first: m, how many tokens from the first one on rows and columns are of; None for all.
    """
    batch, length, features = call.x.shape

    def row(token: Int[Array, ""]) -> Float[Array, "b l"]:
        def out(x: Float[Array, "b l e"]) -> Float[Array, "b e"]:
            return mix(x, call.mask)[:, token].astype(jnp.float32)

        # Backward, since what has a gradient of its own cannot be differentiated forward.
        _, derivative = jax.vjp(out, call.x)
        units = jnp.broadcast_to(jnp.eye(features)[:, None], (features, batch, features))
        (moved,) = jax.vmap(derivative)(units)
        return jnp.sqrt(jnp.sum(jnp.square(moved.astype(jnp.float32)), axis=(0, 3)))

    norms = jnp.moveaxis(jax.lax.map(row, jnp.arange(length)[:first]), 0, 1)
    norms = norms[..., :first]
    return (norms / jnp.maximum(jnp.sum(norms, axis=-1, keepdims=True), 1e-30))[:, None]


def summarise(layers: list[Float[np.ndarray, "h l l"]], *, is_causal: bool = False) -> pd.DataFrame:
    """Compute for each head the row sums, a row's mean entropy in nats, and where its mass lies.

    Beside the entropy is that of rows that are uniform over what they see: if the model is causal,
    their own token and those before it.
    """
    rows = []
    for layer, by_head in enumerate(layers, 1):
        for head, matrix in enumerate(by_head, 1):
            rows.append((layer, head, *_facts(matrix.astype(np.float64), is_causal=is_causal)))
    columns = ["layer", "head", "row_sum_least", "row_sum_most", "entropy", "entropy_uniform"]
    return pd.DataFrame(rows, columns=[*columns, "diagonal", "within_2", "least_entry"])


def _facts(matrix: Float[np.ndarray, "l l"], *, is_causal: bool) -> tuple[float, ...]:
    length, sums = len(matrix), matrix.sum(axis=1)
    # Only positive weights have an entropy; trigonometric features also give negative ones.
    weights = np.maximum(matrix, 0)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
    entropy = -np.sum(weights * np.log(np.maximum(weights, 1e-30)), axis=1).mean()
    apart = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    seen = np.arange(1, length + 1) if is_causal else np.full(length, length)
    near = np.where(apart <= 2, weights, 0).sum() / length
    return (
        sums.min(),
        sums.max(),
        entropy,
        float(np.log(seen).mean()),
        np.trace(weights) / length,
        near,
        matrix.min(),
    )
