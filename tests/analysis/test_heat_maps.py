"""The figures of attention matrices: one scale, clipped and unseen values, names of tokens."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from lra_bench.analysis import heat_maps
from lra_bench.analysis.heat_maps import Axes


@pytest.fixture
def drawn(monkeypatch):
    """Draw matrices, and give the panels, each with its image, and the bar of colours."""
    figures = []
    monkeypatch.setattr(heat_maps, "save_each", lambda figure, path: figures.append(figure))

    def draw(layers, texts=None, *, is_causal=False):
        heat_maps.matrices(layers, Axes(texts, "attention weight", is_causal), "title", None)
        *panels, bar = figures.pop().axes
        return panels, bar

    return draw


def layers(length, heads=2, count=2):
    rng = np.random.default_rng(0)
    return [rng.random((heads, length, length)) * layer for layer in range(1, count + 1)]


def names(panel):
    return [label.get_text() for label in panel.get_xticklabels()]


def test_all_panels_have_one_scale(drawn):
    panels, _ = drawn(layers(12))
    assert len(panels) == 4
    (limits,) = {panel.images[0].get_clim() for panel in panels}
    assert limits == pytest.approx((0, np.quantile(np.stack(layers(12)), 0.995)))


def test_what_is_clipped_has_a_colour_and_is_told(drawn):
    values = np.full((1, 20, 20), 0.5)
    values[0, 3, 4] = 9
    (panel,), bar = drawn([values])
    colours = panel.images[0].to_rgba(panel.images[0].get_array())
    assert tuple(colours[3, 4]) == to_rgba(heat_maps._CLIPPED)
    assert tuple(colours[3, 3]) != to_rgba(heat_maps._CLIPPED)
    assert bar.get_ylabel() == "attention weight (orange: above 0.5)"
    values[0, 3, 4] = -9
    (panel,), bar = drawn([values])
    assert bar.get_ylabel() == "attention weight (green: below -0.5)"
    _, bar = drawn([np.full((1, 20, 20), 0.5)])
    assert bar.get_ylabel() == "attention weight"


def test_causal_models_see_nothing_later(drawn):
    """Grey, and without a part in the scale: zeros of the future would lower it."""
    matrix = np.tril(np.ones((1, 30, 30)))
    matrix[0, 5, 0] = 2
    (panel,), _ = drawn([matrix], is_causal=True)
    shown = panel.images[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), np.triu(np.ones((30, 30)), 1) == 1)
    assert tuple(panel.images[0].to_rgba(shown)[0, 9]) == to_rgba(heat_maps._UNSEEN)
    assert not np.ma.getmaskarray(drawn([matrix])[0][0].images[0].get_array()).any()


def test_tokens_are_named_where_they_can_be_read(drawn):
    texts = ["<", *"MKVLAAGIVG$"]
    panels, _ = drawn(layers(12), texts)
    assert all(names(panel) == ["<", *"MKVLAAGIVG", r"\$"] for panel in panels)
    assert "M" not in names(drawn(layers(300, 1, 1), ["M"] * 300)[0][0])
    assert "M" not in names(drawn(layers(60, 20, 1), ["M"] * 60)[0][0])
    assert "a long text" not in names(drawn(layers(12), ["a long text"] * 12)[0][0])
