"""A part of the page for each attention: what it computes, its options and cost, its results."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from lra_bench.contracts import AttentionTraits
from lra_bench.display.units import size_text
from lra_bench.leaderboard.results import Quantity, Result
from lra_bench.registry import ATTENTIONS, Entry
from lra_bench.report import cell_details, settings
from lra_bench.report.docstring import Docstring, parse
from lra_bench.report.inputs import RunTable
from lra_bench.report.leaderboard import accuracy, no_better
from lra_bench.report.markup import (
    Html,
    anchor,
    definitions,
    folded,
    joined,
    prose,
    scrolling,
    table,
    tag,
)

_TRAITS = {
    "exact": "equals softmax attention",
    "equivariant": "permuting the tokens permutes the output",
    "shares_query_key": "queries and keys are the same",
}


def section(attentions: Iterable[str], tables: list[RunTable]) -> Html:
    """Return the parts of all attentions by name, after a list of links."""
    names = sorted(set(attentions))
    links = [tag("li", tag("a", name, href=f"#{anchor(name)}")) for name in names]
    parts = [_attention(name, tables) for name in names]
    return joined([tag("ul", *links, class_="names"), *parts], "\n")


def _attention(name: str, tables: list[RunTable]) -> Html:
    entry = ATTENTIONS.find(name)
    unknown = tag("p", "Not registered here: it is not known what it computes.")
    about = unknown if entry is None else _about(entry)
    parts = [tag("h3", name), about, _runs(name, tables)]
    return tag("section", *parts, id=anchor(name), class_="mechanism")


def _about(entry: Entry[AttentionTraits]) -> Html:
    parts = parse(inspect.getdoc(entry.target) or "")
    kinds = [text for name, text in _TRAITS.items() if getattr(entry.traits, name)]
    kinds += ["can be causal"] if entry.supports_causal else []
    facts = {
        "cost": prose(parts.cost),
        "kind": "; ".join(kinds),
        "references": prose(parts.references),
        "module": tag("code", entry.module),
    }
    about = [tag("p", prose(text), class_="about") for text in parts.about]
    return joined([*about, definitions(facts), _options(entry, parts)])


def _options(entry: Entry[AttentionTraits], parts: Docstring) -> Html | None:
    """Return a table of the options; choices and meanings only if some option has them."""
    choices = {name: ", ".join(map(str, values)) for name, values in entry.choices().items()}
    meanings = {name: prose(parts.options.get(name, "")) for name in entry.options()}
    columns: dict[str, Callable[[str, Any], object]] = {
        "option": lambda name, _: tag("code", name),
        "default": lambda _, default: tag("code", default),
        "choices": lambda name, _: choices.get(name, ""),
        "meaning": lambda name, _: meanings[name],
    }
    rows = entry.options().items()
    used = {title: of for title, of in columns.items() if any(of(*row) for row in rows)}
    body = [[of(*row) for of in used.values()] for row in rows]
    return table(used, body, caption=f"Options of {entry.name}", class_="options") if body else None


def _runs(name: str, tables: list[RunTable]) -> Html:
    """Return the results of an attention in all tables, and the commands behind them."""
    pairs = [
        (run_table, result)
        for run_table in tables
        for result in run_table.results
        if result.attention_name == name
    ]
    if not pairs:
        return tag("p", "No runs here.")
    commands = [_commands(run_table, result) for run_table, result in pairs]
    return joined([_table(name, pairs), folded("Commands and settings", *commands)])


def _table(name: str, pairs: list[tuple[RunTable, Result]]) -> Html:
    titles = ("task", "preset", "attention", "test %", "seeds", "parameters", "steps/s", "memory")
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    rows = [_row(run_table, result) for run_table, result in pairs]
    caption = tag("caption", f"Runs of {name}", class_="unseen")
    body = (caption, tag("thead", head), tag("tbody", *rows))
    return scrolling(tag("table", *body, class_="sortable runs"), f"Runs of {name}")


def _row(run_table: RunTable, result: Result) -> Html:
    score = None if result.failure() else result.mean
    values = [
        tag("td", run_table.title, class_="words"),
        tag("td", result.attention, class_="words"),
        tag(
            "td",
            accuracy(result),
            no_better(run_table, result),
            data_value="" if score is None else f"{score:.6g}",
        ),
        tag("td", len(result.runs)),
        _median(result, "parameters", "{:,.0f}".format),
        _median(result, "steps_per_second", "{:.3g}".format),
        _median(result, "peak_memory_bytes", size_text),
    ]
    return tag("tr", tag("th", result.task, scope="row"), *values, data_tags=run_table.tags)


def _median(result: Result, quantity: Quantity, text: Callable[[float], str]) -> Html:
    shown = cell_details.median_text(result, quantity, text)
    return tag("td", shown, data_value=result.median(quantity) or "")


def _commands(run_table: RunTable, result: Result) -> Html:
    title = tag("h4", f"{result.attention} on {result.task}, preset {run_table.title}")
    parts = (title, cell_details.commands(result), settings.own(run_table, result))
    return tag("div", *parts, data_tags=run_table.tags)
