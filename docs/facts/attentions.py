"""Facts of the attentions, from their docstrings, the registry and the records."""

import functools
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from facts.text import attentions, docstring_of, joined, plain, references, table, value_text
from lra_bench import published
from lra_bench.cli.new_texts import texts
from lra_bench.config import make_settings
from lra_bench.contracts import Dims
from lra_bench.efficiency import records
from lra_bench.leaderboard.board import AVERAGES
from lra_bench.model.mechanism import build_attention
from lra_bench.registry import REFERENCE, TASKS, Entry, family_of, make_task
from lra_bench.scaling.fits import Fit
from lra_bench.scaling.groups import groups
from lra_bench.scaling.rows import from_lines
from lra_bench.training.learner import count_parameters


def attention_table() -> str:
    """Return a table with one row per attention: what it computes and what it costs."""
    return table(_attention_row(entry) for entry in attentions())


def attention_sections() -> str:
    """Return one section per attention, made from its docstring."""
    return "\n\n".join(_attention_section(entry) for entry in attentions())


def new_attention() -> str:
    """Return the file that `lra-bench new attention my-attention` writes."""
    code, _ = texts("attention", "my-attention").values()
    return f"```python\n{code}```"


def _attention_row(entry: Entry[Any]) -> dict[str, str]:
    docstring = docstring_of(entry)
    body = " ".join([*docstring.about, docstring.cost])
    time, memory = _exponents().get(entry.name, ("", ""))
    return {
        "name": f"[`{entry.name}`](#{entry.name})",
        "family": family_of(entry.name),
        "form": "mixer" if entry.traits.mixer else "attention",
        "time": _cost(body, "time"),
        "memory": _cost(body, "memory"),
        "exponents": f"{time}, {memory}" if time and memory else "",
        "causal": "yes" if entry.supports_causal else "no",
        "order": "no" if entry.traits.equivariant else "yes",
        "length": "fixed" if _has_fixed_length(entry) else "any",
        "parameters": f"{_parameters(entry.name) / _parameters(REFERENCE):.2f}",
        "published average": _published_average(entry.name),
    }


@functools.cache
def _exponents() -> dict[str, tuple[str, str]]:
    """Return the measured exponents of time and memory of each attention, from the records."""
    lines = records.collect([Path("results/efficiency/cpu-attention")])
    (group,) = (g for g in groups(from_lines(lines)) if g.first.direction == "backward")

    def text(fit: Fit | None) -> str:
        return f"{fit.exponent:.2f}" if fit else ""

    return {
        name: (text(group.exponent_of_time(name)), text(group.exponent_of_memory(name)[0]))
        for name in group.labels()
    }


def _has_fixed_length(entry: Entry[Any]) -> bool:
    """Return whether a mechanism refuses a sequence longer than that for which it was built."""

    def attend(*arrays: Any) -> Any:  # only shapes are computed, those of its parameters too
        return build_attention(entry.name, Dims(2, 4, 16), {}, nnx.Rngs(0))(*arrays)

    sizes = ((8,),) if entry.traits.mixer else 3 * ((2, 4),)
    tokens = (jax.ShapeDtypeStruct((1, 32, *size), "float32") for size in sizes)
    try:
        jax.eval_shape(attend, *tokens, jax.ShapeDtypeStruct((1, 32), "bool"))
    except ValueError:
        return True
    return False


def _published_average(attention: str) -> str:
    """Return the mean of the first published row that has all five tasks, and its source."""
    five = AVERAGES[5]
    rows = (row for task in five for row in published.of(attention, task))
    known = ((row.mean(five), row.source) for row in rows)
    return next((f"{mean:.1f} ({_short(source)})" for mean, source in known if mean), "")


def _short(source: str) -> str:
    """Return the name of a source, with a question mark if its identifier was not checked."""
    mark = "?" if source.endswith("not checked") else ""
    return re.split(r",| \(", source)[0] + mark


@functools.cache
def _parameters(attention: str) -> int:
    """Return the parameters of a model of preset small on ListOps."""
    settings = make_settings("listops", attention, "small", 0)
    return count_parameters(make_task("listops", settings.data), settings)


def _cost(text: str, quantity: str) -> str:
    """Return every cost in O() that follows the word "time" or "memory", such as `l^2 d`."""
    matches = re.finditer(rf"\b{quantity} O\(", " ".join(text.split()), re.IGNORECASE)
    return " or ".join(f"`{_in_brackets(match.string[match.end() :])}`" for match in matches)


def _in_brackets(text: str) -> str:
    """Return the text up to the bracket that closes a bracket opened before the text."""
    depth = 1
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[:index]
    raise ValueError(f"a bracket is not closed: {text[:40]}")


def _attention_section(entry: Entry[Any]) -> str:
    docstring = docstring_of(entry)
    about = map(plain, docstring.about)
    parts = [f"### {entry.name}", *about, plain(docstring.cost), _promises(entry)]
    if entry.options():
        parts.append(table(_option_rows(entry, docstring.options)))
    parts += [_state(entry), _published(entry.name), references(docstring)]
    return "\n\n".join(filter(None, parts))


def _state(entry: Entry[Any]) -> str:
    """Return what a mechanism keeps of a sequence, in the words of the function that counts it."""
    says = (inspect.getdoc(entry.traits.state) or "").removeprefix("Return ")
    return f"State: {joined(says)}" if says else ""


def _promises(entry: Entry[Any]) -> str:
    """Return the promises that the contract tests check, and the traits that the model reads."""
    traits = entry.traits
    promises = {
        "equals softmax attention": traits.exact,
        "permuting the tokens permutes the output": traits.equivariant,
        "queries and keys are one projection": traits.shares_query_key,
        "can be causal": entry.supports_causal,
        "cannot be causal": not entry.supports_causal,
    }
    listed = "; ".join(text for text, holds in promises.items() if holds)
    return f"{listed[0].upper()}{listed[1:]}."


def _option_rows(entry: Entry[Any], meanings: dict[str, str]) -> Iterable[dict[str, str]]:
    choices = entry.choices()
    for name, default in entry.options().items():
        yield {
            "option": f"`{name}`",
            "default": f"`{value_text(default)}`",
            "choices": ", ".join(f"`{choice}`" for choice in choices.get(name, ())),
            "what": joined(meanings.get(name, "see above")),
        }


def _published(attention: str) -> str:
    """Name the published rows that tables show beside an attention."""
    names: dict[str, dict[str, None]] = {}
    for task in TASKS.names():
        for row in published.of(attention, task):
            names.setdefault(row.model, {})[row.source] = None
    rows = "; ".join(f"{model} ({', '.join(sources)})" for model, sources in names.items())
    return f"Published as: {rows}." if rows else ""
