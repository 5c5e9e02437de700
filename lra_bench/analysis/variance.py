"""Compare the Performer paper's closed forms and bounds with Monte Carlo on this code's features.

With x = q / d^(1/4), y = k / d^(1/4), z = x + y and SM(x, y) = exp(x^T y) throughout.
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

from lra_bench.analysis import plots
from lra_bench.attentions._favor.features import FeatureMap, softmax_features
from lra_bench.attentions._favor.projections import PROJECTIONS
from lra_bench.display.progress import Display

ESTIMATORS = ("trigonometric", "positive", "hyperbolic")
ANGLES = tuple(math.pi * n / 8 for n in range(1, 8))
LENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
DIMS = (16, 32, 64, 128, 256, 512, 1024)
LOG_NORMS = (0.5, 1.0, 2.0)
_LONGEST_SUM = 1.0
_VIOLATED = 4.0
_CHUNK = 10_000


@dataclass(frozen=True)
class Setup:
    """The parameters of the study.

    Attributes:
        dim: d of Lemma 2's and Theorem 2's vectors.
        features: m of Lemma 2; Theorem 2 has m = d.
        samples: the number of independent estimates of SM(x, y) at each point of the grid.
        seed: of all random numbers.
    """

    dim: int = 8
    features: int = 8
    samples: int = 100_000
    seed: int = 0


def run(setup: Setup, out: Path, display: Display) -> bool:
    """Do all four parts; write a CSV file each and three figures; return whether theory holds."""
    out.mkdir(parents=True, exist_ok=True)
    key = jax.random.key(setup.seed)
    tables = {
        "lemma2": lemma_2(setup, jax.random.fold_in(key, 2), display),
        "theorem2": theorem_2(setup, jax.random.fold_in(key, 4), display),
        "theorem1": theorem_1(setup, jax.random.fold_in(key, 3)),
        "ratio": ratio_surface(),
    }
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
    plots.deviations(tables["lemma2"], tables["theorem2"], out / "variance.png")
    plots.regularized(tables["theorem1"], out / "theorem1.png")
    plots.ratio(tables["ratio"], out / "ratio.png")
    return _report(tables, display)


def softmax_kernel(x: Float[np.ndarray, " d"], y: Float[np.ndarray, " d"]) -> float:
    """Return SM(x, y) = exp(x^T y)."""
    return math.exp(x @ y)


def mse(estimator: str, x: np.ndarray, y: np.ndarray, num_features: int) -> float:
    """Return the MSE of SMtrig, SM+ or SMhyp+ with iid projections: Lemma 2, Eq. (8)."""
    total, apart = (float(np.sum(np.square(v))) for v in (x + y, x - y))
    kernel = softmax_kernel(x, y)
    if estimator == "trigonometric":
        scale = math.exp(total) / (2 * kernel**2)
        return scale * math.expm1(-apart) ** 2 / num_features
    positive = math.exp(total) * kernel**2 * -math.expm1(-total) / num_features
    return positive if estimator == "positive" else -math.expm1(-total) / 2 * positive


def orthogonal_mse_bound(x: np.ndarray, y: np.ndarray, num_features: int) -> float:
    """Return an upper bound on the MSE of SM+ with orthogonal projections: Theorem 2, Eq. (10)."""
    d = len(x)
    gap = softmax_kernel(x, y) - math.exp(-(x @ x + y @ y) / 2)
    share = 2 * (num_features - 1) / (num_features * (d + 2))
    return mse("positive", x, y, num_features) - share * gap**2


def orthogonal_mse(x: np.ndarray, y: np.ndarray, num_features: int) -> float:
    """Return the exact MSE of SM+ with orthogonal projections, m <= d.

    Lemma 5 gives the moments of two orthogonal rows with independent Gaussian norms. Summed over
    the series of exp, E[exp(w_1^T z) exp(w_2^T z)] is the sum for independent rows,
    sum_jk (w^j / j!) (w^k / k!) with w = |z|^2 / 2, where each term is multiplied by
    (d/2)_j (d/2)_k / (d/2)_(j+k). That factor is at most d / (d + 2) for j, k >= 1, which gives
    Theorem 2.
    """
    w, half = float(np.sum(np.square(x + y))) / 2, len(x) / 2
    k = np.arange(_terms(w))
    log_rising = np.array([math.lgamma(half + n) - math.lgamma(half) for n in range(2 * len(k))])
    log_term = k * math.log(w) - np.array([math.lgamma(n + 1) for n in k]) + log_rising[k]
    log_pair = log_term[:, None] + log_term - log_rising[k[:, None] + k]
    product = math.exp(-(x @ x + y @ y)) * float(np.sum(np.exp(log_pair)))
    covariance = product - softmax_kernel(x, y) ** 2
    return mse("positive", x, y, num_features) + (1 - 1 / num_features) * covariance


def regularized_ratio(w: float, dim: int) -> float:
    """Return SMREG / SM = e^-w sum_k f(k, d) w^k / k!, w = |x + y|^2 / 2: Eq. (30)."""
    k = np.arange(_terms(w))
    return float(np.sum(np.exp(_log_poisson(k, w) + _log_f(k, dim))))


def regularized_bound(w: float, dim: int) -> float:
    """Return a lower bound on SMREG / SM, f(l, d) P[Po(w) <= l], l = floor(d^(1/3)): Eq. (32)."""
    l = math.floor(dim ** (1 / 3) + 1e-9)  # noqa: E741
    k = np.arange(l + 1)
    return float(np.exp(_log_f(k, dim)[-1]) * np.sum(np.exp(_log_poisson(k, w))))


def _terms(w: float) -> int:
    """Return how many terms of the series of w^k / k! suffice."""
    return int(w + 12 * math.sqrt(w) + 30)


def _log_poisson(k: np.ndarray, w: float) -> np.ndarray:
    return k * math.log(w) - w - np.array([math.lgamma(n + 1) for n in k])


def _log_f(k: np.ndarray, dim: int) -> np.ndarray:
    """Return log f(k, d), f(k, d) = d^k / (d (d + 2) ... (d + 2k - 2)): Eq. (29)."""
    steps = np.log(dim / (dim + 2.0 * np.arange(len(k))))
    return np.concatenate([[0.0], np.cumsum(steps)])[: len(k)]


def vectors(length: float, angle: float, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two vectors of that length with that angle between them, parallel to no axis."""
    plane = _plane(dim)
    x, y = ([math.cos(side * angle / 2), math.sin(side * angle / 2)] for side in (1, -1))
    return length * plane @ np.array(x), length * plane @ np.array(y)


@functools.cache
def _plane(dim: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, 2)))[0]


def lemma_2(setup: Setup, key: Key[Array, ""], display: Display) -> pd.DataFrame:
    """Compare each estimator's MSE by Monte Carlo with `mse`, in standard errors of the former."""
    points = [
        (estimator, length, angle)
        for estimator in ESTIMATORS
        for length, angle in _grid(bounded=estimator != "trigonometric")
    ]
    rows = []
    shape = (setup.features, setup.dim)
    with display.bar("Lemma 2", len(points)) as bar:
        for number, (estimator, length, angle) in enumerate(points):
            pair = vectors(length, angle, setup.dim)
            features = softmax_features(estimator, "iid", setup.features)
            point_key = jax.random.fold_in(key, number)
            measured, error = _monte_carlo(features, "iid", point_key, setup.samples, shape, pair)
            theory = mse(estimator, *pair, setup.features)
            z = (measured - theory) / error
            rows.append((estimator, length, angle, setup.features, theory, measured, error, z))
            bar(number + 1, estimator)
    columns = ["estimator", "length", "angle", "num_features", "mse_theory", "mse_measured"]
    return pd.DataFrame(rows, columns=[*columns, "standard_error", "z"])


def theorem_2(setup: Setup, key: Key[Array, ""], display: Display) -> pd.DataFrame:
    """Compare orthogonal SM+'s MSE by Monte Carlo, m = d, with its exact value and its bound."""
    points, d = _grid(bounded=True), setup.dim
    features = softmax_features("positive", "orthogonal", d)
    rows = []
    with display.bar("Theorem 2", len(points)) as bar:
        for number, (length, angle) in enumerate(points):
            pair, point_key = vectors(length, angle, d), jax.random.fold_in(key, number)
            measured, error = _monte_carlo(
                features, "orthogonal", point_key, setup.samples, (d, d), pair
            )
            iid, bound = mse("positive", *pair, d), orthogonal_mse_bound(*pair, d)
            exact = orthogonal_mse(*pair, d)
            scores = ((measured - exact) / error, (measured - bound) / error)
            rows.append((length, angle, d, iid, bound, exact, measured, error, *scores))
            bar(number + 1, "")
    columns = ["length", "angle", "num_features", "mse_iid", "mse_bound", "mse_theory"]
    more = ["mse_measured", "standard_error", "z", "above_bound_in_standard_errors"]
    return pd.DataFrame(rows, columns=[*columns, *more])


def theorem_1(setup: Setup, key: Key[Array, ""]) -> pd.DataFrame:
    """Compute SMREG / SM over all x, y whose SM(x, x), SM(y, y), SM(x, y) are at most C.

    The ratio depends only on w = |x + y|^2 / 2, and these are the pairs with w <= 2 ln C (by the
    proof of Theorem 1). `z` is the deviation of the mean of this code's regularized features from
    `regularized_ratio` at |x + y| = 1, where it converges, in standard errors.
    """
    rows = []
    for d in DIMS:
        limit, leading = _largest_log_norm(d), 1 - 2 / d ** (1 / 3)
        z = _regularized_deviation(jax.random.fold_in(key, d), setup.samples // 10, d)
        for log_norm in LOG_NORMS:
            w = np.linspace(0, 2 * log_norm, 51)[1:]
            ratios = np.array([regularized_ratio(x, d) for x in w])
            margin = np.min(ratios - np.array([regularized_bound(x, d) for x in w]))
            rows.append((d, log_norm, ratios.min(), ratios.max(), leading, limit, margin, z))
    columns = ["dim", "log_c", "ratio_least", "ratio_most", "leading_bound"]
    more = ["leading_bound_holds_to_log_c", "margin_over_eq_32", "z"]
    return pd.DataFrame(rows, columns=[*columns, *more])


def _largest_log_norm(dim: int) -> float:
    """Return the largest ln C at which the ratio is at least 1 - 2 / d^(1/3)."""
    low, high = 1e-6, 4.0 * dim
    for _ in range(60):
        middle = (low + high) / 2
        enough = regularized_ratio(2 * middle, dim) >= 1 - 2 / dim ** (1 / 3)
        low, high = (middle, high) if enough else (low, middle)
    return low


def ratio_surface() -> pd.DataFrame:
    """Compute log10 of MSE(SMtrig) / MSE(SM+) by angle and length of x and y: Fig. 2, left.

    The angles leave out 0, where SMtrig is exact, and pi, where SM+ is exact.
    """
    rows = []
    for length in 2 * np.arange(1, 51) / 50:
        for angle in np.pi * (np.arange(90) + 0.5) / 90:
            pair = vectors(length, angle, 2)
            errors = [mse(estimator, *pair, 1) for estimator in ("trigonometric", "positive")]
            rows.append((length, angle, *errors, math.log10(errors[0] / errors[1])))
    columns = ["length", "angle", "mse_trigonometric", "mse_positive", "log10_ratio"]
    return pd.DataFrame(rows, columns=columns)


def _grid(*, bounded: bool) -> list[tuple[float, float]]:
    """Return lengths and angles; if `bounded`, those at which Monte Carlo converges.

    exp(w^T z) is log-normal: beyond |z| = 1 the squared error of 10^6 draws is still skewed, so
    its standard error says little.
    """
    return [
        (length, angle)
        for length in LENGTHS
        for angle in ANGLES
        if not bounded or 2 * length * math.cos(angle / 2) <= _LONGEST_SUM
    ]


def _monte_carlo(
    features: FeatureMap,
    projection: str,
    key: Key[Array, ""],
    samples: int,
    shape: tuple[int, int],
    pair: tuple[np.ndarray, np.ndarray],
) -> tuple[float, float]:
    """Return the mean squared error of `samples` estimates of SM(x, y), and its standard error."""
    count = min(samples, _CHUNK)
    both = jnp.asarray(np.stack(pair), jnp.float32)
    parts = [
        np.asarray(_estimates(features, projection, jax.random.fold_in(key, n), count, shape, both))
        for n in range(-(-samples // count))
    ]
    errors = np.square(np.concatenate(parts).astype(np.float64) - softmax_kernel(*pair))
    return errors.mean(), errors.std(ddof=1) / math.sqrt(len(errors))


def _regularized_deviation(key: Key[Array, ""], samples: int, dim: int) -> float:
    """Return the deviation of SMREG(x, x), |x| = 1/2, from its series, in standard errors."""
    x = np.full(dim, dim**-0.5 / 2)
    both, features = jnp.asarray([x, x], jnp.float32), softmax_features("hyperbolic", "iid", 8)
    estimates = np.asarray(_estimates(features, "iid", key, samples, (8, dim), both, regular=True))
    error = estimates.std(ddof=1) / math.sqrt(samples)
    return (estimates.mean() - regularized_ratio(0.5, dim) * math.exp(x @ x)) / error


@functools.partial(jax.jit, static_argnames=("features", "projection", "count", "shape", "regular"))
def _estimates(
    features: FeatureMap,
    projection: str,
    key: Key[Array, ""],
    count: int,
    shape: tuple[int, int],
    pair: Float[Array, "2 d"],
    regular: bool = False,
) -> Float[Array, " n"]:
    """Return `count` independent estimates of SM(x, y), each from its own rows, `shape` (m, d)."""
    m, d = shape
    kind = PROJECTIONS[projection]
    rows = kind.draw(key, count * m, d)
    rows = kind.regular(rows) if regular else rows

    def estimate(rows: Array) -> Array:
        phi = features(pair * d**0.25, rows).value()
        return phi[0] @ phi[1] / m

    return jax.vmap(estimate)(rows.reshape(count, m, d))


def _report(tables: dict[str, pd.DataFrame], display: Display) -> bool:
    lemma, second, first = (tables[name] for name in ("lemma2", "theorem2", "theorem1"))
    display.line("Lemma 2: measured - theory, in standard errors (|z| > 3 expected: 0.27 %)")
    display.markdown(_z_table(lemma.groupby("estimator", sort=False)["z"]))
    display.line("\nTheorem 2: orthogonal SM+ with m = d")
    display.markdown(_theorem_2_table(second))
    display.line("\nTheorem 1: SMREG / SM for all pairs with entries of A up to C")
    display.markdown(first.to_markdown(index=False, floatfmt=".4g"))
    checks = {
        "Lemma 2's closed forms": (lemma["z"].abs() <= _VIOLATED).all(),
        "Theorem 2's bound, and the exact error": (
            (second["above_bound_in_standard_errors"] <= _VIOLATED)
            & (second["z"].abs() <= _VIOLATED)
            & (second["mse_theory"] <= second["mse_bound"] * (1 + 1e-12))
        ).all(),
        "Theorem 1: SMREG <= SM, its leading bound, and Eq. (32)": (
            (first["ratio_most"] <= 1)
            & (first["ratio_least"] >= first["leading_bound"])
            & (first["margin_over_eq_32"] >= 0)
            & (first["z"].abs() <= _VIOLATED)
        ).all(),
    }
    display.line()
    for name, holds in checks.items():
        display.verdict(bool(holds), f"{name}, to {_VIOLATED:.0f} standard errors")
    return all(checks.values())


def _z_table(groups: Any) -> str:
    counts = {
        "points": groups.size(),
        "largest |z|": groups.apply(lambda z: z.abs().max()),
        "|z| > 2": groups.apply(lambda z: (z.abs() > 2).sum()),
        "|z| > 3": groups.apply(lambda z: (z.abs() > 3).sum()),
    }
    return pd.DataFrame(counts).to_markdown(floatfmt=".2f")


def _theorem_2_table(second: pd.DataFrame) -> str:
    facts = {
        "points": len(second),
        "largest (measured - bound) / standard error": second[
            "above_bound_in_standard_errors"
        ].max(),
        "largest |measured - exact| / standard error": second["z"].abs().max(),
        "exact / bound, from": (second["mse_theory"] / second["mse_bound"]).min(),
        "exact / bound, to": (second["mse_theory"] / second["mse_bound"]).max(),
        "bound / iid, from": (second["mse_bound"] / second["mse_iid"]).min(),
        "bound / iid, to": (second["mse_bound"] / second["mse_iid"]).max(),
    }
    return pd.DataFrame(facts.items(), columns=["", "value"]).to_markdown(
        index=False, floatfmt=".6g"
    )
