"""HTML from Python, escaped unless it says that it is HTML already."""

import html
import re
from collections.abc import Iterable
from zlib import crc32


class Html(str):
    """Text that is markup; plain strings become such only by being escaped."""

    __slots__ = ()


_VOID = frozenset({"meta", "br", "hr", "col"})


def escaped(content: object) -> Html:
    """Markup as it is, anything else as the text that it shows."""
    return content if isinstance(content, Html) else Html(html.escape(str(content)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element. An underscore in the name of an attribute stands for a hyphen.

    Args:
        children: markup, or text to be escaped; None and "" leave nothing.
        attributes: True writes the bare name, None and False leave it out; `class_` is `class`.
    """
    start = "".join((name, *(_attribute(key, value) for key, value in attributes.items())))
    return Html(f"<{start}>") if name in _VOID else Html(f"<{start}>{joined(children)}</{name}>")


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def joined(children: Iterable[object], separator: str = "") -> Html:
    """Several, one after the other."""
    return Html(separator.join(escaped(child) for child in children if child not in (None, "")))


def table(
    head: Iterable[object],
    body: Iterable[Iterable[object]],
    *,
    class_: str | None = None,
    caption: str | None = None,
) -> Html:
    """A table in a box that scrolls by itself; the first cell of a row is its heading."""
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    rows = [_row(list(cells)) for cells in body]
    said = tag("caption", caption, class_="unseen") if caption else None
    inner = tag("table", said, tag("thead", top), tag("tbody", *rows), class_=class_)
    return scrolling(inner, caption or "table")


def _row(cells: list[object]) -> Html:
    return tag("tr", tag("th", cells[0], scope="row"), *(tag("td", cell) for cell in cells[1:]))


def scrolling(content: Html, label: str) -> Html:
    """A box that scrolls sideways, by the arrow keys too."""
    return tag("div", content, class_="table", tabindex=0, role="region", aria_label=label)


def folded(title: object, *children: object, **attributes: object) -> Html:
    """What is shown on demand."""
    return tag("details", tag("summary", title), *children, **attributes)


def anchor(attention: str) -> str:
    """The id of a mechanism's section; names that aren't as they should be get a number too."""
    slug = re.sub(r"[^a-z0-9]+", "-", attention.lower())
    return f"mechanism-{slug}" + ("" if slug == attention else f"-{crc32(attention.encode())}")


_LINK = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def prose(text: str) -> Html:
    """A sentence or more of a docstring: `code` set as code, arXiv numbers linked."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(" ".join(text.split())))
    return Html(_LINK.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', shown))
