"""Draw the figures of the studies."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.display import escape
from lra_bench.display.figures import COLOURS, legend_above, log_axes, save_each, series_style

# The place in the palette of each estimator, as in the figure of the approximation.
_ESTIMATORS = {"positive": 0, "trigonometric": 2, "hyperbolic": 4}


def approximation(summary: pd.DataFrame, title: str, path: Path) -> None:
    """Draw `approximation_figure` into a file."""
    save_each(approximation_figure(summary, title), path)


def approximation_figure(summary: pd.DataFrame, title: str) -> Figure:
    """Draw the error against m: on the left the lines of Fig. 4, on the right other variants."""
    names, scales = list(summary["variant"].unique()), list(summary["scale"].unique())
    figure = Figure(figsize=(10, 0.6 + 4 * len(scales)), layout="constrained")
    figure.suptitle(escape.figure(title), fontsize=11)
    panels = figure.subplots(len(scales), 2, squeeze=False)
    for row, scale in zip(panels, scales, strict=True):
        part = summary.query("scale == @scale")
        for axes, shown in zip(row, (names[:4], [names[0], *names[4:]]), strict=True):
            for name in shown:
                _errors_against_m(axes, part.query("variant == @name"), names.index(name), name)
            log_axes(axes, sorted(set(part["num_features"])))
            axes.set_xlabel("random features, m")
            axes.set_ylabel(
                "mean squared error of the output,\n"
                f"entries of q and k of standard deviation {scale:g}"
            )
            legend_above(axes)
    return figure


def _errors_against_m(axes: Axes, part: pd.DataFrame, index: int, name: str) -> None:
    """Draw geometric means, with bars of one standard deviation of the logarithm each way."""
    mean, factor = part["geometric_mean"], part["geometric_sd"]
    # Shift the lines, or error bars hide each other.
    x = part["num_features"] * 1.03 ** (index % 5 - 2)
    look = {"label": escape.figure(name), "capsize": 3, **series_style(index)}
    axes.errorbar(x, mean, yerr=[mean - mean / factor, mean * factor - mean], **look)


def deviations(lemma: pd.DataFrame, theorem: pd.DataFrame, path: Path) -> None:
    """Draw measured errors over their closed forms, and the error saved by orthogonality."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, part in lemma.groupby("estimator", sort=False):
        style = {**series_style(_ESTIMATORS[str(name)]), "linestyle": "none"}
        bars = 2 * part["standard_error"]
        left.errorbar(part["mse_theory"], part["mse_measured"], yerr=bars, label=name, **style)
    ends = [lemma["mse_theory"].min() / 2, lemma["mse_theory"].max() * 2]
    left.plot(ends, ends, color="grey", linewidth=1, zorder=0)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="mean squared error by Lemma 2",
        ylabel="measured, ± 2 standard errors",
    )
    theorem = theorem.assign(total=2 * theorem["length"] * np.cos(theorem["angle"] / 2))
    theorem = theorem.sort_values("total")
    total, iid = theorem["total"], theorem["mse_iid"]
    saved = {name: 1 - theorem[f"mse_{name}"] / iid for name in ("bound", "theory", "measured")}
    bars, style = 2 * theorem["standard_error"] / iid, {**series_style(1), "linestyle": "none"}
    right.errorbar(total, saved["measured"], yerr=bars, label="measured ± 2 s.e.", **style)
    right.plot(total, saved["theory"], color=COLOURS[0], label="exact")
    right.plot(total, saved["bound"], "--", color="black", label="at least (Theorem 2)")
    right.set(
        xlabel="length of x + y",
        ylabel="share of the error of iid draws\nthat orthogonal ones save",
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
        legend_above(axes, 3)
    save_each(figure, path)


def regularized(table: pd.DataFrame, path: Path) -> None:
    """Draw the least SMREG / SM against d, with Theorem 1's bounds."""
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for index, (log_c, part) in enumerate(table.groupby("log_c")):
        axes.plot(
            part["dim"], part["ratio_least"], label=f"ln C = {log_c:g}", **series_style(index)
        )
    bound = table.drop_duplicates("dim")
    label = "1 - 2 / d^(1/3)"
    axes.plot(bound["dim"], bound["leading_bound"], "--", color="black", label=label)
    axes.axhline(1, color="grey", linewidth=1)
    dims = list(bound["dim"])
    axes.set_xscale("log", base=2)
    axes.set_xticks(dims, [str(x) for x in dims])
    axes.set(
        xlabel="head dimension, d",
        ylabel="regularized over plain softmax kernel, least ratio",
    )
    axes.grid(alpha=0.3)
    legend_above(axes)
    save_each(figure, path)


def ratio(table: pd.DataFrame, path: Path) -> None:
    """Draw Fig. 2: the ratio of errors over angle and length, and the errors at length 1."""
    surface = table.pivot_table(index="length", columns="angle", values="log10_ratio")
    values = np.concatenate([surface.to_numpy()[:, ::-1], surface.to_numpy()], axis=1)
    values = np.concatenate([values[::-1], values])
    angles = np.concatenate([-surface.columns.to_numpy()[::-1], surface.columns.to_numpy()])
    lengths = np.concatenate([-surface.index.to_numpy()[::-1], surface.index.to_numpy()])
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    largest = 6.0
    mesh = left.pcolormesh(
        angles, lengths, values, cmap="PuOr_r", vmin=-largest, vmax=largest, rasterized=True
    )
    left.contour(angles, lengths, values, levels=[0], colors="black", linewidths=1)
    left.set(xlabel="angle between x and y (radians)", ylabel="length |x| = |y|")
    left.set_title("line: equal; above 0: positive features err less", fontsize=9)
    colours = figure.colorbar(mesh, ax=left, extend="both")
    colours.set_label("error of trigonometric over positive features, log10")
    slice_ = table[np.isclose(table["length"], 1)]
    for name in ("trigonometric", "positive"):
        colour = COLOURS[_ESTIMATORS[name]]
        right.plot(slice_["angle"], slice_[f"mse_{name}"], label=name, color=colour)
    right.set(
        yscale="log",
        xlabel="angle between x and y (radians)",
        ylabel="mean squared error of one feature,\nlengths of x and y 1",
    )
    right.grid(alpha=0.3)
    legend_above(right)
    save_each(figure, path)


def propagation(summary: pd.DataFrame, title: str, path: Path) -> None:
    """Draw the error after each layer, relative and squared."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    labels = {
        "relative_error": "mean size of the difference / mean size of the output",
        "mse": "mean squared error of the output",
    }
    for axes, (column, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for index, (name, part) in enumerate(summary.groupby("variant", sort=False)):
            mean, sd = part[f"{column}_mean"], part[f"{column}_std"]
            below = np.minimum(sd, 0.9 * mean)
            style = series_style(index)
            axes.errorbar(part["layer"], mean, yerr=[below, sd], label=name, capsize=2, **style)
        axes.set(xlabel="layers passed", ylabel=label, yscale="log")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend_above(axes, 3)
    save_each(figure, path)
