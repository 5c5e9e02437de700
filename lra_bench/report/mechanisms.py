"""A part of the page for each mechanism: what it computes, its options and cost, its records."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from lra_bench.contracts import AttentionTraits
from lra_bench.display.units import size_text
from lra_bench.errors import UsageError
from lra_bench.leaderboard.results import Figure, Result
from lra_bench.registry import ATTENTIONS, Entry
from lra_bench.report import cell_details
from lra_bench.report.docstring import Docstring, parse
from lra_bench.report.inputs import RunTable
from lra_bench.report.leaderboard import accuracy
from lra_bench.report.markup import Html, anchor, folded, joined, prose, scrolling, table, tag

_TRAITS = {
    "exact": "equals softmax attention",
    "equivariant": "permuting the tokens permutes the output",
    "shares_query_key": "queries and keys are one",
}


def section(attentions: Iterable[str], settings: list[RunTable]) -> Html:
    """All of them, by name, after a list of links."""
    names = sorted(set(attentions))
    links = [tag("li", tag("a", name, href=f"#{anchor(name)}")) for name in names]
    parts = [_mechanism(name, settings) for name in names]
    return joined([tag("ul", *links, class_="names"), *parts], "\n")


def _mechanism(name: str, settings: list[RunTable]) -> Html:
    try:
        about = _about(ATTENTIONS.get(name))
    except UsageError:
        about = tag("p", "Not registered here: what it computes isn't known.")
    parts = [tag("h3", name), about, _records(name, settings)]
    return tag("section", *parts, id=anchor(name), class_="mechanism")


def _about(entry: Entry[AttentionTraits]) -> Html:
    found = parse(inspect.getdoc(entry.target) or "")
    kinds = [said for name, said in _TRAITS.items() if getattr(entry.traits, name)]
    kinds += ["can be causal"] if entry.supports_causal else []
    facts = {
        "cost": prose(found.cost),
        "kind": "; ".join(kinds),
        "references": prose(found.references),
        "module": tag("code", entry.module),
    }
    shown = [(tag("dt", key), tag("dd", value)) for key, value in facts.items() if value]
    said = [tag("p", prose(text), class_="about") for text in found.about]
    return joined([*said, tag("dl", *(x for pair in shown for x in pair)), _options(entry, found)])


def _options(entry: Entry[AttentionTraits], found: Docstring) -> Html | None:
    choices = {name: ", ".join(map(str, found)) for name, found in entry.choices().items()}
    columns: dict[str, Callable[[str, Any], object]] = {
        "option": lambda name, _: tag("code", name),
        "default": lambda _, usual: tag("code", usual),
        "choices": lambda name, _: choices.get(name, ""),
        "meaning": lambda name, _: prose(found.options.get(name, "")),
    }
    rows = entry.options().items()
    used = {title: of for title, of in columns.items() if any(of(*row) for row in rows)}
    body = [[of(*row) for of in used.values()] for row in rows]
    return table(used, body, caption=f"Options of {entry.name}", class_="options") if body else None


def _records(name: str, settings: list[RunTable]) -> Html:
    """Its cells in all settings, and behind them the commands."""
    mine = [
        (setting, cell)
        for setting in settings
        for cell in setting.cells
        if cell.runs[0].attention == name
    ]
    if not mine:
        return tag("p", "No runs here.")
    again = [_again(setting, cell) for setting, cell in mine]
    return joined([_table(name, mine), folded("Commands and settings", *again)])


def _table(name: str, mine: list[tuple[RunTable, Result]]) -> Html:
    titles = ("task", "preset", "attention", "test %", "seeds", "parameters", "steps/s", "memory")
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    rows = [_row(setting, cell) for setting, cell in mine]
    caption = tag("caption", f"Runs of {name}", class_="unseen")
    body = (caption, tag("thead", head), tag("tbody", *rows))
    return scrolling(tag("table", *body, class_="sortable runs"), f"Runs of {name}")


def _row(setting: RunTable, cell: Result) -> Html:
    figures: tuple[tuple[Figure, Callable[[float], str]], ...] = (
        ("parameters", "{:,.0f}".format),
        ("steps_per_second", "{:.3g}".format),
        ("peak_memory_bytes", size_text),
    )
    score = None if cell.failure() else cell.mean
    values = [
        tag("td", setting.title, class_="words"),
        tag("td", cell.attention, class_="words"),
        tag("td", accuracy(cell), data_value="" if score is None else f"{score:.6g}"),
        tag("td", len(cell.runs)),
        *(
            tag("td", cell_details.said(cell, key, form), data_value=cell.median(key) or "")
            for key, form in figures
        ),
    ]
    return tag("tr", tag("th", cell.task, scope="row"), *values, data_tags=setting.tags)


def _again(setting: RunTable, cell: Result) -> Html:
    title = tag("h4", f"{cell.attention} on {cell.task}, preset {setting.title}")
    return tag(
        "div", title, cell_details.commands(cell), cell_details.config(cell), data_tags=setting.tags
    )
