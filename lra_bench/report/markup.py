"""Write HTML from Python; text is escaped unless it is `Html` already."""

import re
from collections.abc import Iterable, Mapping
from zlib import crc32

from lra_bench.display.escape import html


class Html(str):
    """Text that is HTML; a plain string becomes HTML only by `escaped`."""

    __slots__ = ()


class TableCell(Html):
    """A whole cell of a table, which has attributes of its own."""

    __slots__ = ()


_VOID = frozenset({"meta", "br", "hr", "col"})


def escaped(content: object) -> Html:
    """Return HTML as it is, and anything else as escaped text."""
    return content if isinstance(content, Html) else Html(html(content))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: HTML, or text to be escaped; None and "" are left out.
        attributes: True writes the bare name, None and False leave the attribute out. An
            underscore in a name becomes a hyphen, and one at its end is dropped: `class_`.
    """
    start = "".join((name, *(_attribute(key, value) for key, value in attributes.items())))
    return Html(f"<{start}>") if name in _VOID else Html(f"<{start}>{joined(children)}</{name}>")


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html(value)}"'


def joined(children: Iterable[object], separator: str = "") -> Html:
    """Return children one after the other, None and "" left out."""
    return Html(separator.join(escaped(child) for child in children if child not in (None, "")))


def table(
    head: Iterable[object],
    body: Iterable[Iterable[object]],
    *,
    class_: str | None = None,
    caption: str | None = None,
) -> Html:
    """Return a table in a box that scrolls by itself; the first cell of a row is its heading."""
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    rows = [_row(list(cells)) for cells in body]
    title = tag("caption", caption, class_="unseen") if caption else None
    inner = tag("table", title, tag("thead", top), tag("tbody", *rows), class_=class_)
    return scrolling(inner, caption or "table")


def _row(cells: list[object]) -> Html:
    others = (cell if isinstance(cell, TableCell) else tag("td", cell) for cell in cells[1:])
    return tag("tr", tag("th", cells[0], scope="row"), *others)


def definitions(entries: Mapping[str, object]) -> Html:
    """Return a list of terms with their descriptions; terms without one are left out."""
    pairs = [tag("dt", term) + tag("dd", value) for term, value in entries.items() if value]
    return tag("dl", Html("".join(pairs)))


def scrolling(content: Html, label: str) -> Html:
    """Return a box that scrolls sideways, by the arrow keys too."""
    return tag("div", content, class_="table", tabindex=0, role="region", aria_label=label)


def folded(title: object, *children: object, **attributes: object) -> Html:
    """Return children under a title that shows and hides them."""
    return tag("details", tag("summary", title), *children, **attributes)


def anchor(attention: str) -> str:
    """Return the id of an attention's section; unusual names get a checksum, to stay distinct."""
    slug = re.sub(r"[^a-z0-9]+", "-", attention.lower())
    return f"mechanism-{slug}" + ("" if slug == attention else f"-{crc32(attention.encode())}")


_LINK = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def prose(text: str) -> Html:
    """Return the text of a docstring as HTML: `code` as code, arXiv numbers as links."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", html(" ".join(text.split())))
    return Html(_LINK.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', shown))
