"""The style of all figures: series, axes and legends; and writing them to files."""

import contextlib
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.display import palette
from lra_bench.display.busy import busy
from lra_bench.display.escape import terminal

MARKERS = "osD^vP*Xh"
COLOURS = tuple(colour.light for colour in palette.SERIES)
_BROKEN = (0, (6, 1.5, 1.5, 1.5))
DPI = 200
_SERIES = "series-"


def series_style(index: int) -> dict[str, Any]:
    """Return matplotlib's options for a series that is no mechanism; the first 81 all differ.

    Mechanisms have a look of their own; see `lra_bench.display.looks`.
    """
    turn, colour = divmod(index, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "marker": MARKERS[(colour + turn) % len(MARKERS)],
        "markersize": 5,
        "linewidth": 1.4,
        "linestyle": ("-", _BROKEN)[turn % 2],
    }


def log_axes(axes: Axes, ticks: list[int], name: Callable[[int], str] = str) -> None:
    """Make both axes logarithmic, with a named tick at each measured x."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [name(x) for x in ticks])
    axes.grid(alpha=0.3)


def legend_above(axes: Axes, columns: int = 2) -> None:
    """Add a legend above the axes."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=8)


def save(figure: Figure, path: Path, doing: str = "") -> None:
    """Write a figure as PNG, SVG or PDF, by the path's suffix; equal figures give equal bytes.

    Args:
        figure: to write.
        path: of the file.
        doing: what a terminal shows meanwhile; by default, that the file is drawn.
    """
    with busy(doing or f"drawing {path.name}"):
        if path.suffix == ".svg":
            path.write_text(_svg(figure), encoding="utf-8")
            return
        undated = {"CreationDate": None} if path.suffix == ".pdf" else None
        with _any_text(), rc_context({"pdf.fonttype": 42}):  # text that can be searched and copied
            figure.savefig(path, dpi=DPI, metadata=undated)


def save_each(figure: Figure, path: Path, doing: str = "") -> list[Path]:
    """Write a figure as PNG, SVG and PDF beside each other, and return the files.

    Args:
        figure: to write.
        path: of the PNG; the others differ in the suffix.
        doing: what a terminal shows meanwhile; by default, which file is drawn.
    """
    files = [path, path.with_suffix(".svg"), path.with_suffix(".pdf")]
    for file in files:
        save(figure, file, doing)
    return files


@contextlib.contextmanager
def _any_text() -> Iterator[None]:
    """Draw what there is room and a glyph for, without warnings: labels may be any text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box is drawn in its place
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # no room is left
        yield


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    # Text stays text; ids depend on the contents only, and no date is written.
    with (
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "lra-bench"}),
        _any_text(),
    ):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def series_id(label: str) -> str:
    """Return the id of a label by which a page finds what a figure draws of it."""
    return f"{zlib.crc32(label.encode()):08x}"


def mark_series(label: str, *artists: Artist) -> None:
    """Mark what a figure draws of a label, so that a page can show it alone."""
    for artist in artists:
        artist.set_gid(f"{_SERIES}{series_id(label)}")


# A use of a mark, named in the first group; and a style, which may be missing.
_USE = r'<use href="#([^"]*)" x="[^"]*" y="[^"]*"'
_STYLE = r'(?: style="([^"]*)")?'


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an SVG element of an HTML page, without background or style sheet.

    Black becomes the colour of the surrounding text, and each colour of the palette a CSS variable,
    so a page can show the figure on a dark background. What `mark_series` marks has the attribute
    `data-series`.

    Args:
        name: the prefix of the figure's ids, unique in the page.
        description: the text for screen readers.
    """
    text = _svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", text))
    # What follows is of tags alone: a label may hold any number, colour or sign.
    words = iter(re.findall(r">([^<]+)<", text))
    text = _shorter(re.sub(r">[^<]+<", ">\0<", text))
    text = re.sub(rf'\bid="{_SERIES}([0-9a-f]+)"', r'data-series="\1"', text)
    text = _numbered(text, name)
    text = re.sub(r"#[0-9a-f]{6}", _by_variable, text)
    text = text.replace("#000000", "currentColor").replace("fill: #ffffff", "fill: none")
    label = re.sub(r'[<>&"]', "", terminal(description))
    # Use the page's fonts: few systems have matplotlib's, and their list is long.
    fonts = 'font-family="system-ui, sans-serif"'
    text = _tight(text).replace("<svg", f'<svg role="img" aria-label="{label}" {fonts}', 1)
    return re.sub("\0", lambda _: next(words), text)


def _numbered(svg: str, name: str) -> str:
    """Return SVG whose ids are a prefix and a number: a figure refers to them hundreds of times."""
    ids = dict.fromkeys(re.findall(r'\bid="([^"]*)"', svg))
    short = {old: f"{name}-{number}" for number, old in enumerate(ids)}
    return re.sub(r'(\bid="|href="#|url\(#)([^")]*)', lambda x: x[1] + short[x[2]], svg)


def _shorter(svg: str) -> str:
    """Return SVG without names of groups and digits that nobody sees."""
    text = re.sub(rf'<g id="(?!{_SERIES})[^"]*"', "<g", svg)
    text = re.sub(r"\d*\.\d{3,}", _two_digits, text)
    text = re.sub(r' (?:d|x|y)="[^"]*"', _one_digit, text)
    # The letters of a path need no spaces beside them.
    return re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r" ?([A-Za-z]) ?", r"\1", path[0]), text)


def _tight(svg: str) -> str:
    """Return SVG without fonts, turns by no angle, styles given twice, and spaces in styles."""
    text = re.sub(r'font-family: [^;"]*;? ?', "", svg)
    text = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", text)
    text = _styled_once(text)
    return re.sub(r'style="[^"]*"', lambda x: re.sub(r"([:;]) ", r"\1", x[0]), text)


def _styled_once(svg: str) -> str:
    """Return SVG whose marks have their style where they are defined, if all their uses agree.

    A line has the same mark dozens of times. The style of a definition counts before that of a use.
    """
    styles: dict[str, set[str]] = {}
    for mark, style in re.findall(rf"{_USE}{_STYLE}", svg):
        styles.setdefault(mark, set()).add(style)
    agreed = {mark: style for mark, (style, *others) in styles.items() if not others}

    def defined(path: re.Match[str]) -> str:
        merged = _properties(agreed.get(path[2], "")) | _properties(path[3] or "")
        style = "; ".join(f"{key}: {value}" for key, value in merged.items())
        return f'{path[1]} style="{style}"' if style else path[1]

    svg = re.sub(rf'(<path id="([^"]*)" d="[^"]*"){_STYLE}', defined, svg)
    used = rf"({_USE}){_STYLE}"
    return re.sub(used, lambda use: use[1] if use[2] in agreed else use[0], svg)


def _properties(style: str) -> dict[str, str]:
    return dict(re.findall(r"([\w-]+): *([^;]+)", style))


def _one_digit(match: re.Match[str]) -> str:
    """Return coordinates to a tenth of a point."""
    return re.sub(r"\d*\.\d{2,}", lambda x: f"{float(x[0]):.1f}".removesuffix(".0"), match[0])


def _two_digits(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _by_variable(match: re.Match[str]) -> str:
    """Return a colour of the palette as a CSS variable, and any other as it is."""
    name = palette.variable(match[0])
    return match[0] if name is None else f"var({name}, {match[0]})"
