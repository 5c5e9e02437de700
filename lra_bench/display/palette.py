"""The colours of all figures, on a light and on a dark ground."""

from typing import NamedTuple


class Colour(NamedTuple):
    """A colour as "#rrggbb", for a light and for a dark ground."""

    light: str
    dark: str


# Of a series that is no mechanism: Okabe and Ito's colours without black, then Tol's purple, olive
# and indigo. Colour-blind readers can tell them apart.
SERIES = (
    Colour("#0072b2", "#4da3e0"), Colour("#d55e00", "#ff8a3d"), Colour("#009e73", "#2fc79b"),
    Colour("#cc79a7", "#e3a0c6"), Colour("#e69f00", "#f0b429"), Colour("#56b4e9", "#7cc7f2"),
    Colour("#882255", "#d0668f"), Colour("#999933", "#c6c65a"), Colour("#332288", "#9a8cff"),
)  # fmt: skip
# Of the families of mechanisms. By a search, any two differ by 12 or more (CIEDE2000), also as
# protanopes, deuteranopes and tritanopes see them, and in lightness for print without colours.
FAMILIES = {
    "exact": Colour("#071737", "#ede8ff"),
    "kernel": Colour("#d28224", "#faa54f"),
    "low-rank": Colour("#328156", "#81efbb"),
    "fixed-pattern": Colour("#790000", "#f41d1a"),
    "learned-pattern": Colour("#674084", "#dfb9ff"),
    "recurrent": Colour("#905401", "#ae9671"),
    "convolution": Colour("#905401", "#ae9671"),
    "other": Colour("#5eb1c8", "#67b5b9"),
    "bound": Colour("#828386", "#8a8a8a"),
}
# The names of the CSS variables, by the colour on a light ground.
_VARIABLES = {colour.light: f"c{number}" for number, colour in enumerate(SERIES)} | {
    colour.light: f"family-{name}" for name, colour in reversed(FAMILIES.items())
}


def variable(light: str) -> str | None:
    """Return the CSS variable that stands for a colour, such as "--c0"; None for other colours."""
    name = _VARIABLES.get(light.lower())
    return None if name is None else f"--{name}"


def declarations(*, dark: bool) -> str:
    """Return the CSS that gives the variables their values on one of the grounds."""
    every = [*SERIES, *FAMILIES.values()]
    values = {variable(colour.light): colour.dark if dark else colour.light for colour in every}
    return " ".join(f"{name}: {value};" for name, value in values.items())
