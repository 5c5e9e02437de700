"""What the registry and the presets say of attentions and tasks, as markdown."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from lra_bench import published
from lra_bench.config import presets
from lra_bench.contracts import SPLITS, Source
from lra_bench.leaderboard.board import in_order
from lra_bench.registry import ATTENTIONS, TASKS, Entry, Registry
from lra_bench.report.docstring import Docstring, parse

PRESETS = ("smoke", "mini", "small", "paper")
# What markdown would take for a sign of its own, outside of words.
_SIGN = re.compile(r"(?<!\w)_|_(?!\w)|[*~<\[|]")


def attention_table() -> str:
    """A row an attention: what it is and what it costs."""
    return table(_attention_row(entry) for entry in _attentions())


def attention_sections() -> str:
    """A section an attention, from its docstring."""
    return "\n\n".join(_attention_section(entry) for entry in _attentions())


def task_table() -> str:
    """A row a task: what it asks, and how long its inputs are."""
    return table(_task_row(entry) for entry in _tasks())


def task_sections() -> str:
    """A section a task: its docstring, its facts, its presets."""
    return "\n\n".join(_task_section(entry) for entry in _tasks())


FACTS: dict[str, Callable[[], str]] = {
    "attention_table": attention_table,
    "attention_sections": attention_sections,
    "task_table": task_table,
    "task_sections": task_sections,
}


def table(rows: Iterable[dict[str, str]]) -> str:
    """Rows of equal keys."""
    rows = list(rows)
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text in which nothing but `code` is a sign of markdown's."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else _SIGN.sub(r"\\\g<0>", part) for part in parts)


def joined(text: str) -> str:
    """On one line, fit for a cell of a table."""
    return plain(" ".join(text.split()))


def _own(registry: Registry[Any]) -> list[Entry[Any]]:
    """What is registered by this package, not by others that happen to be installed."""
    entries = [registry.get(name) for name in registry.names()]
    return [entry for entry in entries if entry.module.startswith("lra_bench.")]


def _attentions() -> list[Entry[Any]]:
    """Exact ones first."""
    return sorted(_own(ATTENTIONS), key=lambda entry: not entry.traits.exact)


def _tasks() -> list[Entry[Any]]:
    """In the order of the tables of accuracy."""
    return [TASKS.get(name) for name in in_order(entry.name for entry in _own(TASKS))]


def _docstring(entry: Entry[Any]) -> Docstring:
    return parse(inspect.getdoc(entry.target) or "")


def _references(found: Docstring) -> str:
    """With links to what is on arXiv; nothing where there are none."""
    text = joined(found.references)
    linked = re.sub(r"arXiv:([0-9.]+[0-9])", r"[\g<0>](https://arxiv.org/abs/\1)", text)
    return f"Reference: {linked}" if linked else ""


def _attention_row(entry: Entry[Any]) -> dict[str, str]:
    found = _docstring(entry)
    body = " ".join([*found.about, found.cost])
    return {
        "name": f"[`{entry.name}`](#{entry.name})",
        "what": joined(entry.summary),
        "time": _cost(body, "time"),
        "memory": _cost(body, "memory"),
        "causal": "yes" if entry.supports_causal else "no",
        "options": ", ".join(f"`{name}`" for name in entry.options() if name != "causal"),
    }


def _cost(text: str, of: str) -> str:
    """Such as `l^2 d`: what stands in O() after the word, wherever it does."""
    found = re.finditer(rf"\b{of} O\(", " ".join(text.split()), re.IGNORECASE)
    return " or ".join(f"`{_in_brackets(match.string[match.end() :])}`" for match in found)


def _in_brackets(text: str) -> str:
    """Up to the bracket that closes the one before the text."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[:place]
    raise ValueError(f"no bracket closes: {text[:40]}")


def _attention_section(entry: Entry[Any]) -> str:
    found = _docstring(entry)
    parts = [f"### {entry.name}", *map(plain, found.about), plain(found.cost), _promises(entry)]
    if entry.options():
        parts.append(table(_option_rows(entry, found.options)))
    parts += [_published(entry.name), _references(found)]
    return "\n\n".join(filter(None, parts))


def _promises(entry: Entry[Any]) -> str:
    """What the contract tests hold it to, and what the model has to know."""
    traits = entry.traits
    said = {
        "equals softmax attention": traits.exact,
        "permuting the tokens permutes the output": traits.equivariant,
        "queries and keys are one projection": traits.shares_query_key,
        "can be causal": entry.supports_causal,
        "can't be causal": not entry.supports_causal,
    }
    listed = "; ".join(text for text, holds in said.items() if holds)
    return f"{listed[0].upper()}{listed[1:]}."


def _option_rows(entry: Entry[Any], said: dict[str, str]) -> Iterable[dict[str, str]]:
    choices = entry.choices()
    for name, default in entry.options().items():
        yield {
            "option": f"`{name}`",
            "default": f"`{_value(default)}`",
            "choices": ", ".join(f"`{choice}`" for choice in choices.get(name, ())),
            "what": joined(said.get(name, "see above")),
        }


def _value(value: Any) -> str:
    """As `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _published(attention: str) -> str:
    """Which published rows stand beside it."""
    names: dict[str, dict[str, None]] = {}
    for task in TASKS.names():
        for row in published.of(attention, task):
            names.setdefault(row.model, {})[row.source] = None
    rows = "; ".join(f"{model} ({', '.join(sources)})" for model, sources in names.items())
    return f"Published as: {rows}." if rows else ""


def _task(entry: Entry[Any], preset: str) -> Any:
    """The task with the options of a preset; None if it has none of that name."""
    made = presets(entry.name)
    return entry.target(**made[preset]().data) if preset in made else None


def _task_row(entry: Entry[Any]) -> dict[str, str]:
    task = entry.target()
    return {
        "task": f"[`{entry.name}`](#{entry.name})",
        "what": joined(entry.summary),
        "classes": str(task.num_classes),
        "vocabulary": str(task.vocab_size),
        "padding": "no" if task.pad_id is None else "yes",
        **{f"tokens, `{preset}`": _tokens(_task(entry, preset)) for preset in PRESETS},
    }


def _tokens(task: Any) -> str:
    if task is None:
        return "none"
    return f"2 x {task.max_len:,}" if task.paired else f"{task.max_len:,}"


def _task_section(entry: Entry[Any]) -> str:
    found = _docstring(entry)
    parts = [
        f"### {entry.name}",
        *map(plain, found.about),
        "\n".join(_task_facts(entry.target())),
        table(_preset_row(entry, name) for name in PRESETS if name in presets(entry.name)),
        f"Options, with their defaults, for `--set data.NAME=VALUE`: {_data_options(entry)}.",
        _references(found),
    ]
    return "\n\n".join(filter(None, parts))


def _task_facts(task: Any) -> Iterable[str]:
    yield f"- {task.num_classes} classes: {', '.join(task.class_names)}."
    padding = "none is padding" if task.pad_id is None else f"{task.pad_id} is padding"
    yield f"- Token ids from 0 to {task.vocab_size - 1}; {padding}."
    for source in task.sources:
        yield _source(source)


def _source(source: Source) -> str:
    """Where data come from and what splits them."""
    files = plain(source.files) or "made here, by a generator"
    if source.url:
        files = f"[{files}]({source.url})"
    size = f", {source.size / 1e6:,.0f} MB" if source.size else ""
    return f"- Source `{source.name}`: {files}{size}. Splits: {joined(source.splits)}."


def _preset_row(entry: Entry[Any], name: str) -> dict[str, str]:
    make = presets(entry.name)[name]
    config = make()
    model, train = config.model, config.train
    return {
        "preset": f"`{name}`",
        "what": joined((make.__doc__ or "").partition("\n")[0]),
        "tokens": _tokens(_task(entry, name)),
        "examples": _examples(_task(entry, name)),
        "layers": str(model.num_layers),
        "width, feed-forward": f"{model.emb_dim}, {model.ffn_dim}",
        "heads": f"{model.num_heads} of {model.head_dim}",
        "pooling": model.pooling,
        "steps": f"{train.num_steps:,}",
        "batch": str(train.batch_size),
        "rate": f"{train.learning_rate:g}, {train.schedule}",
    }


def _examples(task: Any) -> str:
    """Of train, validation and test, from the default source."""
    known = task.sizes(task.sources[0].name)
    limits = known or {split: getattr(task, f"{split}_size") for split in SPLITS}
    return " / ".join(f"{limits[split]:,}" if limits[split] else "all" for split in SPLITS)


def _data_options(entry: Entry[Any]) -> str:
    """With what they are in the full task."""
    fields = dataclasses.fields(entry.target())
    return ", ".join(f"`{field.name}={_value(field.default)}`" for field in fields)
