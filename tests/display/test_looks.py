"""The looks of mechanisms: each its own, by family, and told apart by everyone and in print."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from vision import VISIONS, seen

from lra_bench.contracts import FAMILIES
from lra_bench.display import palette
from lra_bench.display.looks import looks
from lra_bench.registry import ATTENTIONS, IDENTITY, family_of

# Two of a pair: the least distance in CIELAB of their colours.
APART = 14
# The same in lightness alone, which is all that grey print leaves.
APART_IN_GREY = 5
# The least share of pixels, lines and ground, in which the pieces of two lines differ.
DIFFER = 0.012


def every(*more):
    names = [*ATTENTIONS.names(), *more]
    return {name: family_of(name.partition(" ")[0]) for name in names}


def piece(style, ground):
    """A legend's piece of a line, drawn: sRGB in [0, 1], (height, width, 3)."""
    figure = Figure(figsize=(0.6, 0.16), dpi=100, facecolor=ground)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([0.05, 0.5, 0.95], [0.5] * 3, markevery=[1], **style)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def differing(one, other):
    """The share of the pixels that differ by more than is hard to see."""
    return (np.linalg.norm(one - other, axis=-1) > 15).mean()


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_mechanisms_are_told_apart(vision):
    found = looks(every())
    drawn = {name: seen(piece(style, "white"), vision) for name, style in found.items()}
    close = {
        pair: share
        for pair in itertools.combinations(drawn, 2)
        if (share := differing(*(drawn[name] for name in pair))) < DIFFER
    }
    assert len(drawn) > 30
    assert not close


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_the_colours_of_families_are_told_apart(vision, ground):
    colours = {getattr(colour, ground) for colour in palette.FAMILIES.values()}
    assert len(colours) == 8
    least = APART_IN_GREY if vision == "grey" else APART
    for pair in itertools.combinations(sorted(colours), 2):
        one, other = (seen(np.array(to_rgb(colour)), vision) for colour in pair)
        assert np.linalg.norm(one - other) >= least, (pair, vision)


def test_every_family_has_a_colour():
    assert palette.FAMILIES.keys() == {*FAMILIES, "exact", "bound"}
    colours = {family_of(name): style["color"] for name, style in looks(every()).items()}
    assert colours == {name: palette.FAMILIES[name].light for name in colours}


def test_a_mechanism_looks_the_same_in_every_figure():
    alone = [looks({name: family}) for name, family in every().items()]
    assert {label: style for one in alone for label, style in one.items()} == looks(every())


def test_a_variant_has_the_colour_and_the_marker_of_its_mechanism():
    options = [f"performer-softmax (num_features={n})" for n in (16, 32, 64)]
    labels = every(*options, "softmax from linear", f"{IDENTITY} from linear")
    found = looks(labels)
    for option in options:
        assert found[option]["marker"] == found["performer-softmax"]["marker"]
        assert found[option]["color"] == found["performer-softmax"]["color"]
        assert found[option]["fillstyle"] == "none"
    pieces = [piece(style, "white").tobytes() for style in found.values()]
    assert len(set(pieces)) == len(labels)


def test_mechanisms_of_others_take_what_is_free():
    theirs = {f"theirs-{number}": "kernel" for number in range(20)} | {"<b>": "other"}
    found = looks(every() | theirs)
    assert {name: found[name] for name in every()} == looks(every())
    pieces = [piece(style, "white").tobytes() for style in found.values()]
    assert len(set(pieces)) == len(found)
    assert looks({"theirs-1": "kernel"})["theirs-1"]["color"] == palette.FAMILIES["kernel"].light
