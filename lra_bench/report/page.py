"""The page around the sections: head, table of contents, style sheet and script."""

import base64
import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from lra_bench import __version__
from lra_bench.display import palette
from lra_bench.report.markup import Html, folded, joined, tag

# By these words in its footer a page is recognised.
MADE_BY = "Made by lra-bench"


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


@dataclass(frozen=True)
class Top:
    """The top of the page, above the sections.

    Attributes:
        title: of the page.
        date: of the page.
        lead: a sentence on what the page is made of.
        results: sentences on what the records show.
        figure: the first one; None if there is none.
    """

    title: str
    date: datetime.date
    lead: str
    results: Sequence[str] = ()
    figure: Html | None = None


def page(top: Top, presets: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the page: a table of contents, then the sections.

    Args:
        top: what stands above them.
        presets: to choose from; the page hides parts of others by their number in this list.
        sections: in order.
    """
    body = tag(
        "body",
        tag("a", "to the results", href="#results", class_="skip"),
        _header(top, presets),
        _contents(sections),
        tag("main", _first(top.figure), *map(_section, sections), id="results"),
        tag("footer", f"{MADE_BY} {__version__} on {_day(top.date)}."),
        tag("script", Html(_script())),
    )
    return f"<!doctype html>\n{tag('html', _head(top.title), body, lang='en')}\n"


def _header(top: Top, presets: Sequence[str]) -> Html:
    made = tag("p", tag("time", _day(top.date), datetime=top.date.isoformat()),
               f" · lra-bench {__version__} · {top.lead}", class_="made")  # fmt: skip
    results = [tag("p", sentence, class_="lead") for sentence in top.results]
    return tag("header", tag("h1", top.title), made, *results, _choices(presets))


def _first(shown: Html | None) -> Html | None:
    return None if shown is None else tag("div", shown, id="first")


def _day(date: datetime.date) -> str:
    return f"{date.day} {date:%B %Y}"


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
    """Return a list of links; several sections of one kind are folded."""
    kinds: dict[str, list[Section]] = {}
    for section in sections:
        kinds.setdefault(section.title.partition(": ")[0], []).append(section)
    entries = [_entry(kind, members) for kind, members in kinds.items()]
    return tag("nav", tag("ul", *entries), aria_label="Contents")


def _entry(kind: str, members: Sequence[Section]) -> Html:
    if len(members) == 1:
        return tag("li", tag("a", members[0].title, href=f"#{members[0].name}"))
    links = [
        tag("li", tag("a", each.title.removeprefix(f"{kind}: "), href=f"#{each.name}"))
        for each in members
    ]
    return tag("li", folded(f"{kind}, {len(members)} parts", tag("ul", *links)))


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
