"""Measure the error of FAVOR+ against exact softmax attention: Fig. 4 of the Performer paper."""

import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Array, Float, Key

from lra_bench.analysis import plots
from lra_bench.attentions.performer_softmax import PerformerSoftmax
from lra_bench.contracts import Dims
from lra_bench.display.progress import Display
from lra_bench.files.json_files import write_json
from lra_bench.files.regular import sha256

# The options of `PerformerSoftmax` for each line; the first four lines are the paper's.
VARIANTS: dict[str, dict[str, Any]] = {
    "positive, orthogonal": {"estimator": "positive", "projection": "orthogonal"},
    "positive, iid": {"estimator": "positive", "projection": "iid"},
    "trigonometric, orthogonal": {"estimator": "trigonometric", "projection": "orthogonal"},
    "trigonometric, iid": {"estimator": "trigonometric", "projection": "iid"},
    "hyperbolic, orthogonal": {"estimator": "hyperbolic", "projection": "orthogonal"},
    "positive, regularized": {
        "estimator": "positive",
        "projection": "orthogonal",
        "regularized": True,
    },
    "positive, Hadamard": {"estimator": "positive", "projection": "hadamard"},
    "positive, Givens": {"estimator": "positive", "projection": "givens"},
}
_VALUES = {"positive": 1, "hyperbolic": 2, "trigonometric": 2}
_ROWS = 512
_ERRORS_TITLE = """\
MSE of the attention output against exact softmax: geometric mean over draws, in brackets the factor
of one standard deviation:\
"""
_CLAIMS_TITLE = """\
Is the error smaller? Standard errors, paired over draws, by which the mean log of the ratio of
errors exceeds 0; in brackets the geometric mean of that ratio:\
"""


class Claim(NamedTuple):
    """The claim that `better`, with `share` times the projections, has less error than `worse`."""

    name: str
    better: str
    worse: str
    share: int = 1


CLAIMS = (
    Claim("positive: orthogonal < iid", "positive, orthogonal", "positive, iid"),
    Claim("trigonometric: orthogonal < iid", "trigonometric, orthogonal", "trigonometric, iid"),
    Claim(
        "orthogonal: positive < trigonometric", "positive, orthogonal", "trigonometric, orthogonal"
    ),
    Claim("iid: positive < trigonometric", "positive, iid", "trigonometric, iid"),
    Claim(
        "orthogonal, equal values: positive < trigonometric",
        "positive, orthogonal",
        "trigonometric, orthogonal",
        share=2,
    ),
)


@dataclass(frozen=True)
class Setup:
    """The parameters of the study.

    Attributes:
        length, dim: L tokens and d features of a head.
        draws: the number of independent draws of the projections.
        features: the numbers of projections m.
        scales: standard deviations of the entries of q and k, which are iid and normal; v's is 1.
        redraw: whether each draw also has its own q, k and v, as in Fig. 4.
        seed: of all random numbers.
    """

    length: int = 4096
    dim: int = 16
    draws: int = 60
    features: tuple[int, ...] = (16, 32, 64, 128, 256)
    scales: tuple[float, ...] = (0.5, 0.8, 1.0)
    redraw: bool = False
    seed: int = 0


def run(setup: Setup, out: Path, display: Display) -> bool:
    """Measure; write three CSV files, the setup with checksums, and the figure; show tables."""
    out.mkdir(parents=True, exist_ok=True)
    errors = measure(setup, display)
    summary, claims = summarise(errors), compare(errors)
    errors.to_csv(out / "approximation-draws.csv", index=False)
    summary.to_csv(out / "approximation.csv", index=False)
    claims.to_csv(out / "claims.csv", index=False)
    sums = {name: sha256(out / name) for name in ("approximation.csv", "claims.csv")}
    write_json(out / "approximation.json", {**asdict(setup), "sha256": sums})
    title = f"L = {setup.length:,}, d = {setup.dim}, {setup.draws} draws"
    plots.approximation(summary, title, out / "approximation.png")
    for scale in setup.scales:
        display.line(f"\nEntries of q and k of standard deviation {scale:g}")
        display.line(_ERRORS_TITLE)
        display.markdown(_errors_table(summary.query("scale == @scale")))
        display.line(f"\n{_CLAIMS_TITLE}")
        display.markdown(_claims_table(claims.query("scale == @scale")))
    return True


def measure(setup: Setup, display: Display) -> pd.DataFrame:
    """Return the mean squared error of each scale, variant, number of projections and draw."""
    total = len(setup.scales) * setup.draws * len(setup.features) * len(VARIANTS)
    key = jax.random.key(setup.seed)
    rows = []
    with display.bar("approximation", total) as bar:
        for scale in setup.scales:
            for draw, inputs in enumerate(_inputs(setup, scale, jax.random.fold_in(key, 0))):
                draw_key = jax.random.fold_in(jax.random.fold_in(key, 1), draw)
                for variant, *values in _errors(setup, inputs, draw_key):
                    rows.append((scale, draw, variant, *values))
                    bar(len(rows), variant)
    names = ["scale", "draw", "variant", "num_features", "feature_values", "mse"]
    return pd.DataFrame(rows, columns=names)


def _errors(
    setup: Setup, inputs: "Problem", key: Key[Array, ""]
) -> Iterator[tuple[str, int, int, float]]:
    dims, most = Dims(1, setup.dim, setup.length), max(setup.features)
    for name, options in VARIANTS.items():
        values = _VALUES[options["estimator"]]
        for m in setup.features:
            drawn = projection(jax.random.fold_in(key, m), dims, most, options)
            yield name, m, m * values, float(squared_error(inputs, drawn, m, options))


class Problem(NamedTuple):
    """Queries, keys, values and the exact output, all (1, l, 1, d)."""

    q: Float[Array, "1 l 1 d"]
    k: Float[Array, "1 l 1 d"]
    v: Float[Array, "1 l 1 d"]
    exact: Float[Array, "1 l 1 d"]


def _inputs(setup: Setup, scale: float, key: Key[Array, ""]) -> Iterator[Problem]:
    """Yield the inputs of each draw: always the same, or new ones if `setup.redraw`."""
    inputs = draw_inputs(setup, scale, key)
    for draw in range(setup.draws):
        if setup.redraw:
            inputs = draw_inputs(setup, scale, jax.random.fold_in(key, draw))
        yield inputs


def draw_inputs(setup: Setup, scale: float, key: Key[Array, ""]) -> Problem:
    """Draw Gaussian q, k and v, and compute their exact softmax attention."""
    q, k, v = jax.random.normal(key, (3, 1, setup.length, 1, setup.dim))
    q, k = q * scale, k * scale
    exact = exact_attention(*(np.asarray(x[0, :, 0], np.float64) for x in (q, k, v)))
    return Problem(q, k, v, jnp.asarray(exact, jnp.float32)[None, :, None])


def exact_attention(
    q: Float[np.ndarray, "l d"], k: Float[np.ndarray, "l d"], v: Float[np.ndarray, "l d"]
) -> Float[np.ndarray, "l d"]:
    """Compute Eq. (1) in float64, 512 rows at a time."""
    out = np.empty_like(v)
    for start in range(0, len(q), _ROWS):
        logits = q[start : start + _ROWS] @ k.T * q.shape[1] ** -0.5
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        out[start : start + _ROWS] = weights @ v / weights.sum(axis=1, keepdims=True)
    return out


Options = tuple[tuple[str, Any], ...]


def projection(
    key: Key[Array, ""], dims: Dims, num_features: int, options: dict[str, Any]
) -> Array:
    """Return the projection of a mechanism with these options; it is equal for all estimators."""
    drawing = tuple((name, x) for name, x in options.items() if name != "estimator")
    return _projection(key, dims, num_features, drawing)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _projection(key: Key[Array, ""], dims: Dims, num_features: int, options: Options) -> Array:
    return _mechanism(key, dims, num_features, options).projection[...]


def squared_error(
    inputs: Problem, drawn: Array, num_features: int, options: dict[str, Any]
) -> Float[Array, ""]:
    """Return the mean squared error of the mechanism with the first rows of `drawn`.

    `drawn` replaces the mechanism's rows, so one compiled program serves every kind of projection.
    """
    way = "hadamard" if options["projection"] == "hadamard" else "iid"
    program = (("estimator", options["estimator"]), ("projection", way))
    return _squared_error(inputs, drawn, num_features, program)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _squared_error(
    inputs: Problem, drawn: Array, num_features: int, options: Options
) -> Float[Array, ""]:
    q, k, v, exact = inputs
    dims = Dims(1, q.shape[3], q.shape[1])
    mechanism = _mechanism(jax.random.key(0), dims, num_features, options)
    mechanism.projection[...] = drawn[: mechanism.projection.shape[0]]
    return jnp.mean(jnp.square(mechanism(q, k, v, jnp.ones(q.shape[:2], bool)) - exact))


def _mechanism(
    key: Key[Array, ""], dims: Dims, num_features: int, options: Options
) -> PerformerSoftmax:
    return PerformerSoftmax(dims, num_features=num_features, rngs=nnx.Rngs(key), **dict(options))


def summarise(errors: pd.DataFrame) -> pd.DataFrame:
    """Compute means, standard deviations, standard error and median over draws.

    The geometric mean and standard deviation, a factor, are those of the logarithms. Errors are so
    skewed that one draw can determine the mean.
    """
    groups = errors.groupby(["scale", "variant", "num_features", "feature_values"], sort=False)
    summary = groups["mse"].agg(["mean", "std", "sem", "median", "count"])
    logs = groups["mse"].agg(lambda mse: np.log(mse).mean()), groups["mse"].agg(_log_sd)
    summary["geometric_mean"], summary["geometric_sd"] = map(np.exp, logs)
    names = {"mean": "mse", "std": "sd", "sem": "standard_error", "count": "draws"}
    return summary.reset_index().rename(columns=names)


def _log_sd(mse: pd.Series) -> float:
    return float(np.log(mse).std(ddof=1))


def compare(errors: pd.DataFrame) -> pd.DataFrame:
    """Tell for each of `CLAIMS`, scale and m whether it holds, and by how many standard errors.

    Errors are skewed, most of all those of trigonometric features, whose mean can depend on one
    draw. So a claim holds if the geometric mean of the ratio is above 1; the ratio of means is
    given too.
    """
    rows = []
    for scale, part in errors.groupby("scale", sort=False):
        by_draw = part.pivot_table(index="draw", columns=["variant", "num_features"], values="mse")
        for claim in CLAIMS:
            for m in sorted(part["num_features"].unique()):
                if (claim.better, m * claim.share) in by_draw:
                    better = by_draw[claim.better, m * claim.share].to_numpy()
                    result = _compared(better, by_draw[claim.worse, m].to_numpy())
                    rows.append((scale, claim.name, m * claim.share, m, *result))
    columns = ["scale", "claim", "features_of_better", "features_of_worse", "holds"]
    more = ["mse_ratio", "standard_errors", "geometric_ratio", "log_standard_errors", "draws_won"]
    return pd.DataFrame(rows, columns=[*columns, *more])


def _compared(
    better: Float[np.ndarray, " draws"], worse: Float[np.ndarray, " draws"]
) -> tuple[bool, float, float, float, float, int]:
    gain, logs = worse - better, np.log(worse / better)
    ratio, geometric = float(worse.mean() / better.mean()), float(np.exp(logs.mean()))
    won = int((gain > 0).sum())
    return (
        geometric > 1,
        ratio,
        _in_standard_errors(gain),
        geometric,
        _in_standard_errors(logs),
        won,
    )


def _in_standard_errors(x: Float[np.ndarray, " draws"]) -> float:
    return float(x.mean() / (x.std(ddof=1) / len(x) ** 0.5))


def _errors_table(summary: pd.DataFrame) -> str:
    columns = summary["geometric_mean"], summary["geometric_sd"]
    cells = [f"{mean:.2e} (x{sd:.2g})" for mean, sd in zip(*columns, strict=True)]
    return _by_features(summary.assign(cell=cells), "variant", "num_features")


def _claims_table(claims: pd.DataFrame) -> str:
    columns = ["holds", "log_standard_errors", "geometric_ratio"]
    cells = [
        f"{'yes' if holds else 'no'} {sigmas:+.1f} (x{ratio:.3g})"
        for holds, sigmas, ratio in claims[columns].to_numpy()
    ]
    return _by_features(claims.assign(cell=cells), "claim", "features_of_worse")


def _by_features(table: pd.DataFrame, index: str, features: str) -> str:
    wide = table.pivot_table(
        index=index, columns=features, values="cell", aggfunc="first", sort=False
    )
    wide.columns = [f"m = {m}" for m in wide.columns]
    return wide.fillna("").to_markdown()
