"""Draw matrices of attention and of similarity."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes as Panel
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lra_bench.display import escape
from lra_bench.display.figures import save_each

# Inches of a panel, of one that names its tokens at most, of a token in it, and of all panels.
_PANEL, _LARGE_PANEL, _TOKEN, _WIDEST, _HIGHEST = 2.5, 6.5, 0.095, 24.0, 40.0
_LARGEST_TEXT = 7.0  # points
# Longer texts of tokens leave no room for the matrix.
_LONGEST = 5
_UNSEEN, _CLIPPED, _CLIPPED_BELOW = "0.88", "#D55E00", "#009E73"


@dataclass(frozen=True)
class Axes:
    """The names of rows, columns and values of attention matrices.

    Attributes:
        texts: of the tokens; None if they have none.
        value: the name of a value, such as "attention weight".
        is_causal: whether tokens only see themselves and those before them.
    """

    texts: Sequence[str] | None
    value: str
    is_causal: bool


class _Scale(NamedTuple):
    """The colours of values, words for those that are clipped, and the ends that clip."""

    colours: Colormap
    norm: Normalize
    clipped: str
    extend: str


def matrices(
    layers: Sequence[Float[np.ndarray, "h l l"]], axes: Axes, title: str, path: Path
) -> None:
    """Draw a row of panels per layer, a column per head, with one scale for all of them.

    Colours end at the 99.5 % quantile of the absolute values; values beyond it have a colour of
    their own. What a causal model can't see is grey. Tokens are named where there is room.
    """
    heads, length = len(layers[0]), layers[0].shape[-1]
    side, texts = _side(axes.texts, length, heads, len(layers))
    size = (side * heads + 1.2, (side + 0.2) * len(layers) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    causal = "; grey: later tokens, which are not seen" if axes.is_causal else ""
    figure.suptitle(escape.figure(f"{title}{causal}", 200), fontsize=10, wrap=True)
    panels = figure.subplots(len(layers), heads, squeeze=False)
    scale, unseen = _scale(layers, causal=axes.is_causal), _unseen(length, causal=axes.is_causal)
    image: Any = None
    for layer, (row, by_head) in enumerate(zip(panels, layers, strict=True), 1):
        for head, (panel, matrix) in enumerate(zip(row, by_head, strict=True), 1):
            shown = np.ma.array(matrix, mask=unseen)
            image = panel.imshow(shown, scale.colours, scale.norm, interpolation="nearest")
            panel.set_title(f"layer {layer}, head {head}", fontsize=8)
            _name_tokens(panel, texts, side)
    figure.supxlabel("token that is looked at (key)", fontsize=9)
    figure.supylabel("token that looks (query)", fontsize=9)
    shrink = min(1.0, 4 / (side * len(layers)))
    bar = figure.colorbar(image, ax=panels, shrink=shrink, aspect=25, extend=scale.extend)
    bar.set_label(axes.value + scale.clipped, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    save_each(figure, path)


def _unseen(length: int, *, causal: bool) -> np.ndarray:
    """Return which entries a causal model can't see, bool (l, l)."""
    return np.triu(np.full((length, length), causal), 1)


def _scale(layers: Sequence[Float[np.ndarray, "h l l"]], *, causal: bool) -> _Scale:
    seen = ~_unseen(layers[0].shape[-1], causal=causal)
    values = np.concatenate([matrix[:, seen].ravel() for matrix in layers])
    top = float(np.quantile(np.abs(values), 0.995)) or 1.0
    # Trigonometric features give negative entries, which need colours for both signs.
    signed = values.min() < -0.01 * top
    above, below = bool(values.max() > top), bool(signed and values.min() < -top)
    colours = mpl.colormaps["RdBu_r" if signed else "viridis"].with_extremes(
        bad=_UNSEEN,
        over=_CLIPPED if above else None,
        under=_CLIPPED_BELOW if below else None,
    )
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}
    words = [f"orange: above {top:.3g}"] * above + [f"green: below {-top:.3g}"] * below
    clipped = f" ({', '.join(words)})" if words else ""
    norm = Normalize(-top if signed else 0, top)
    return _Scale(colours, norm, clipped, extend.get((above, below), "neither"))


def _side(
    texts: Sequence[str] | None, length: int, heads: int, layers: int
) -> tuple[float, Sequence[str] | None]:
    """Return the inches of a panel, and the names of the tokens if they can be read there."""
    named = max(_PANEL, _TOKEN * length)
    room = min(_LARGE_PANEL, max(_PANEL, _WIDEST / heads), max(_PANEL, _HIGHEST / layers))
    if texts is None or named > room or max(map(len, texts)) > _LONGEST:
        return _PANEL, None
    return named, texts


def _name_tokens(panel: Panel, texts: Sequence[str] | None, side: float) -> None:
    """Write the tokens at both axes; if there are no names, their numbers stay."""
    panel.tick_params(labelsize=6)
    if texts is None:
        return
    names, places = [escape.figure(text) for text in texts], range(len(texts))
    panel.set_xticks(places, names, rotation=90 if max(map(len, texts)) > 1 else 0)
    panel.set_yticks(places, names)
    # Labels and the title take a fifth of a panel.
    points = min(_LARGEST_TEXT, 0.8 * 72 * side / len(texts))
    panel.tick_params(labelsize=points, length=0, pad=1.5)


class Similarity(NamedTuple):
    """A matrix of similarity to draw.

    Attributes:
        title: above it.
        value: what its values are.
        matrix: symmetric; its diagonal is not drawn.
    """

    title: str
    value: str
    matrix: Float[np.ndarray, "n n"]


def similarities(
    shown: Sequence[Similarity], names: str, marked: Sequence[str], title: str, path: Path
) -> None:
    """Draw matrices of similarity side by side, each with a scale of its own.

    Args:
        shown: the matrices.
        names: a letter for each row and column.
        marked: pairs of letters, which get a frame.
        title: of the figure.
        path: of the file.
    """
    figure = Figure(figsize=(5.2 * len(shown), 5.2), layout="constrained")
    figure.suptitle(escape.figure(title, 200), fontsize=10, wrap=True)
    for panel, one in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        hidden = np.eye(len(names), dtype=bool)
        colours = mpl.colormaps["viridis"].with_extremes(bad=_UNSEEN)
        image = panel.imshow(np.ma.array(one.matrix, mask=hidden), colours)
        panel.set_title(one.title, fontsize=9)
        panel.set_xticks(range(len(names)), list(names), fontsize=8)
        panel.set_yticks(range(len(names)), list(names), fontsize=8)
        panel.tick_params(length=0)
        for pair in marked:
            i, j = map(names.index, pair)
            for x, y in ((i, j), (j, i)):
                frame = Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, color=_CLIPPED, lw=1.5)
                panel.add_patch(frame)
        bar = figure.colorbar(image, ax=panel, shrink=0.75)
        bar.set_label(one.value, fontsize=8)
        bar.ax.tick_params(labelsize=7)
    save_each(figure, path)
