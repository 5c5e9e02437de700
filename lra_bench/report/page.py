"""The page around the sections: head, table of contents, style sheet and script."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from lra_bench import __version__
from lra_bench.display import palette
from lra_bench.report.markup import Html, joined, tag


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: its id.
        title: its heading, and its entry in the table of contents.
        body: HTML below the heading.
    """

    name: str
    title: str
    body: Html


def page(title: str, lead: str, presets: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page: a table of contents, then the sections.

    Args:
        title: of the page.
        lead: a sentence on what the page is made of.
        presets: to choose from; the page hides parts of others by their number in this list.
        sections: in order.
    """
    body = tag(
        "body",
        tag("a", "to the results", href="#results", class_="skip"),
        tag("header", tag("h1", title), tag("p", lead, class_="lead"), _choices(presets)),
        _contents(sections),
        tag("main", *map(_section, sections), id="results"),
        tag("footer", f"Made by lra-bench {__version__}."),
        tag("script", Html(_script())),
    )
    return f"<!doctype html>\n{tag('html', _head(title), body, lang='en')}\n"


def _head(title: str) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(_style())),
    )


def _choices(presets: Sequence[str]) -> Html:
    """Return the form of choices; hidden without the script, which then shows everything."""
    options = [tag("option", name, value=f"preset-{n}") for n, name in enumerate(presets)]
    every = tag("option", "all", value="")
    preset = tag("label", "preset ", tag("select", every, *options, id="preset"))
    grounds = [tag("option", name, value=name) for name in ("light", "dark")]
    ground = tag("select", tag("option", "as the system", value=""), *grounds, id="ground")
    chosen = [preset] if len(presets) > 1 else []
    return tag("form", *chosen, tag("label", "colours ", ground), id="choices", hidden=True)


def _contents(sections: Sequence[Section]) -> Html:
    entries = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    return tag("nav", tag("ul", *entries), aria_label="Contents")


def _section(section: Section) -> Html:
    heading = tag("h2", section.title)
    return joined(["\n", tag("section", heading, "\n", section.body, id=section.name)])


def _policy() -> str:
    """Return the security policy: nothing is loaded, no other script runs."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    allowed = {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {source}" for what, source in allowed.items())


def _script() -> str:
    return _read("script.js")


def _style() -> str:
    light, dark = (palette.declarations(dark=dark) for dark in (False, True))
    return _read("style.css").replace("/* light */", light).replace("/* dark */", dark)


def _read(name: str) -> str:
    return (files("lra_bench") / "report" / name).read_text(encoding="utf-8")
