"""The look of each mechanism: a colour for its family, and a marker and dashes of its own.

A look follows from the name and the family alone, so a mechanism looks the same in all figures.
"""

import zlib
from collections.abc import Mapping
from typing import Any

from lra_bench.display.palette import FAMILIES

Look = dict[str, Any]

_MARKERS = "os^Dv*P<X>d"
_DASHES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.2, 1.2)))
# As 11 and 4 have no common divisor, so many pairs of a marker and dashes differ.
_SHAPES = len(_MARKERS) * len(_DASHES)
# The place in this list decides marker and dashes, so new names come last. A mechanism that is not
# here takes a place by its name. Four in a row have the four kinds of dashes.
_ORDER = (
    "softmax", "softmax-fused", "softmax-chunked", "fnet",
    "performer-softmax", "performer-relu", "linear", "performer-generalized",
    "linformer", "nystromformer", "abc", "luna",
    "reformer", "sinkhorn", "routing", "skyformer",
    "local", "bigbird", "sparse", "longformer",
    "efficient", "cosformer", "h-transformer", "hedgehog",
    "favor-plus-plus", "favor-sharp", "rfa", "aft-simple",
    "s4d", "s5", "mega", "gated-deltanet",
    "long-conv", "lion", "synthesizer",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_ORDER)}


def looks(families: Mapping[str, str]) -> dict[str, Look]:
    """Return matplotlib's options for the line of each label.

    A label is the name of a mechanism, or begins with it, as "linformer (num_projected=64)" does.
    Such a variant has the colour and the marker of its mechanism, but the marker is hollow and the
    dashes are others. Identity, of the family "bound", is a dashed grey line without markers.

    Args:
        families: the family of each label; see `palette.FAMILIES`.
    """
    names = {label: label.partition(" ")[0] for label in families}
    places = _places({names[label]: family for label, family in families.items()})
    styles, variants = {}, dict.fromkeys(places, 0)
    for label in sorted(families):
        name, family = names[label], families[label]
        variants[name] += label != name
        styles[label] = _look(family, places[name], variants[name] if label != name else 0)
    return styles


def _places(families: Mapping[str, str]) -> dict[str, int]:
    """Return the place of each name; a name that `_ORDER` lacks takes one free in its family."""
    places = {name: _PLACES[name] for name in families if name in _PLACES}
    for name in sorted(families.keys() - places.keys()):
        family = families[name]
        taken = {places[other] for other in places if families[other] == family}
        first = zlib.crc32(name.encode()) % _SHAPES
        turns = [(first + turn) % _SHAPES for turn in range(_SHAPES)]
        # The rest of the list comes first: no mechanism of this package has these.
        turns.sort(key=lambda place: place < len(_ORDER))
        places[name] = next((place for place in turns if place not in taken), first)
    return places


def _look(family: str, place: int, variant: int) -> Look:
    """Return the options of a line; variant 0 is the mechanism with its default options."""
    marker, dashes = place + (variant - 1) // len(_DASHES) if variant else place, place + variant
    is_bound = family == "bound"
    return {
        "color": FAMILIES[family].light,
        "marker": "" if is_bound and not variant else _MARKERS[marker % len(_MARKERS)],
        "markersize": 5,
        "fillstyle": "none" if variant else "full",
        "linewidth": 1.4,
        "linestyle": (0, (4, 2)) if is_bound else _DASHES[dashes % len(_DASHES)],
    }
