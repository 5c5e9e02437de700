"""Write markdown about the attentions and tasks, from the registry and the presets."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from lra_bench import published
from lra_bench.cli import new
from lra_bench.cli.settings_list import SettingRow, settings_of
from lra_bench.config import make_settings, presets
from lra_bench.contracts import SPLITS, Dims, Source, TokenTask
from lra_bench.efficiency import records
from lra_bench.leaderboard.board import AVERAGES, in_order
from lra_bench.leaderboard.results import results
from lra_bench.model.mechanism import build_attention
from lra_bench.ranges import defaults_of
from lra_bench.records import find
from lra_bench.registry import (
    ATTENTIONS,
    IDENTITY,
    REFERENCE,
    TASKS,
    Entry,
    Registry,
    family_of,
    make_task,
)
from lra_bench.report.docstring import Docstring, parse
from lra_bench.scaling.fits import Fit
from lra_bench.scaling.groups import groups
from lra_bench.scaling.rows import from_lines
from lra_bench.settings import ModelSettings, TrainSettings
from lra_bench.training.learner import count_parameters

PRESETS = ("smoke", "mini", "small", "paper")
# An accuracy that counts as knowing nearly all answers.
_NEARLY_ALL = 0.95
# Characters that markdown would interpret, outside of words.
_SIGN = re.compile(r"(?<!\w)_|_(?!\w)|[*~<\[|]")


def attention_table() -> str:
    """Return a table with one row per attention: what it computes and what it costs."""
    return table(_attention_row(entry) for entry in _attentions())


def attention_sections() -> str:
    """Return one section per attention, made from its docstring."""
    return "\n\n".join(_attention_section(entry) for entry in _attentions())


def new_attention() -> str:
    """Return the file that `lra-bench new attention my-attention` writes."""
    code, _ = new.texts("my-attention").values()
    return f"```python\n{code}```"


def task_table() -> str:
    """Return a table with one row per task: what it asks, and the length of its inputs."""
    return table(_task_row(entry) for entry in _tasks())


def task_sections() -> str:
    """Return one section per task: its docstring, its facts, its presets."""
    return "\n\n".join(_task_section(entry) for entry in _tasks())


def brackets_table() -> str:
    """Return a table of what is known of the brackets of ListOps, a row for each source."""
    names = {"source": "source", "model": "model, if not all", "brackets": "brackets"}
    return table(
        {**{title: plain(row[key]) for key, title in names.items()}, "evidence": row["evidence"]}
        for row in published.brackets()
    )


def difference_table() -> str:
    """Return a table of the settings in which presets small and nystromformer differ."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for entry in _tasks():
        if "nystromformer" in presets(entry.name):
            for difference in _differences(entry.name, "small", "nystromformer"):
                found.setdefault(difference, []).append(entry.name)
    every = max(map(len, found.values()))
    return table(
        {
            "setting": f"`{name}`",
            "`small`": f"`{one}`",
            "`nystromformer`": f"`{other}`",
            "tasks": "all" if len(tasks) == every else ", ".join(tasks),
        }
        for (name, one, other), tasks in sorted(found.items())
    )


def _differences(task: str, *names: str) -> Iterable[tuple[str, str, str]]:
    """Yield setting, value and other value where two presets differ, options of attentions too."""
    one, other = (presets(task)[name]().to_dict() for name in names)
    one["model"] = {**defaults_of(ModelSettings), **one["model"]}
    one["train"] = {**defaults_of(TrainSettings), **one["train"]}
    one |= {name: ATTENTIONS.get(name).options() for name in other["attention"]}
    other |= other.pop("attention")
    for group in other:
        for key, value in other[group].items():
            if one[group][key] != value:
                yield f"{group}.{key}", _value(one[group][key]), _value(value)


def headline() -> str:
    """Return three sentences: how many mechanisms remember, see far, and how fast one is."""
    scores = results(find.collect([Path("results/battery")]))
    known, seen = ([x for x in scores if x.task == task] for task in ("recall", "span"))
    sure = sum((x.mean or 0) >= _NEARLY_ALL for x in known)
    unsure = sum(x.failure() is not None for x in known)
    far = sum(x.failure() is None for x in seen)
    length, faster = _fastest_lead()
    return (
        f"Of {len(known)} mechanisms, **{sure}** recall nearly every pair of a key and a value "
        f"that they were told, and **{unsure}** do no better than a guess; **{far}** relate tokens "
        f"that are 17 places apart. At {length:,} tokens, Performer is **{faster:.0f} times as "
        "fast** as the fastest exact attention, forward and backward, on two CPU cores."
    )


def _fastest_lead() -> tuple[int, float]:
    """Return the longest length on the CPU, and by how much Performer leads exact attention."""
    lines = records.collect([Path("results/efficiency/cpu-attention")])
    (group,) = (g for g in groups(from_lines(lines)) if g.first.direction == "backward")
    seconds = {(row.label, row.length): s for row in group.rows if (s := group.seconds(row))}
    length = max(row.length for row in group.rows)
    exact = min(seconds[row.label, length] for row in group.rows
                if row.exact and (row.label, length) in seconds)  # fmt: skip
    return length, exact / seconds["performer-softmax", length]


def settings_table() -> str:
    """Return tables of the settings that all tasks share: range, meaning, value if it is one."""
    return "\n\n".join(
        f"### {group}\n\n{table(map(_setting_row, rows))}"
        for group in ("train", "model")
        if (rows := [setting for setting in _shared() if setting.key.startswith(f"{group}.")])
    )


def task_settings() -> str:
    """Return for each task its data options and, for each preset, the settings that vary."""
    return "\n\n".join(_settings_section(entry.name) for entry in _tasks())


def _shared() -> list[SettingRow]:
    return [x for x in _settings(_tasks()[0].name) if x.key.startswith(("train.", "model."))]


@functools.cache
def _settings(task: str) -> list[SettingRow]:
    return [x for x in settings_of(task, IDENTITY) if not x.key.startswith("attention.")]


@functools.cache
def _only_value(key: str) -> str | None:
    """Return the value that a setting has in every preset of every task; None if they differ."""
    found = {v for e in _tasks() for x in _settings(e.name) if x.key == key for v in x.by_value}
    return found.pop() if len(found) == 1 else None


def _setting_row(setting: SettingRow) -> dict[str, str]:
    value = _only_value(setting.key)
    return {
        "setting": f"`{setting.key}`",
        "valid": joined(setting.valid),
        "what": joined(setting.meaning),
        "value": "by preset" if value is None else f"`{value}`",
    }


def _settings_section(task: str) -> str:
    """Return the section of a task: its data options, then the values in each preset."""
    settings = _settings(task)
    data = [
        {"option": f"`{x.key}`", "valid": joined(x.valid), "what": joined(x.meaning)}
        for x in settings
        if x.key.startswith("data.")
    ]
    values = [
        {"setting": f"`{x.key}`", **{f"`{name}`": f"`{v}`" for name, v in x.presets.items()}}
        for x in settings
        if x.key.startswith("data.") or _only_value(x.key) is None
    ]
    return f"### {task}\n\n{table(data)}\n\n{table(values)}"


FACTS: dict[str, Callable[[], str]] = {
    "headline": headline,
    "settings_table": settings_table,
    "task_settings": task_settings,
    "attention_table": attention_table,
    "attention_sections": attention_sections,
    "new_attention": new_attention,
    "task_table": task_table,
    "brackets_table": brackets_table,
    "task_sections": task_sections,
    "difference_table": difference_table,
}


def table(rows: Iterable[dict[str, str]]) -> str:
    """Return a markdown table of rows that have the same keys."""
    rows = list(rows)
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Escape everything in a text that markdown would interpret, except `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part[:1] == "`" else _SIGN.sub(r"\\\g<0>", part) for part in parts)


def joined(text: str) -> str:
    """Return the text on one line, escaped, for a cell of a table."""
    return plain(" ".join(text.split()))


def _own(registry: Registry[Any]) -> list[Entry[Any]]:
    """Return the entries of this package, without those of other installed packages."""
    entries = [registry.get(name) for name in registry.names()]
    return [entry for entry in entries if entry.module.startswith("lra_bench.")]


def _attentions() -> list[Entry[Any]]:
    """Return the attentions, exact ones first."""
    return sorted(_own(ATTENTIONS), key=lambda entry: not entry.traits.exact)


def _tasks() -> list[Entry[Any]]:
    """Return the tasks, in the order of the tables of accuracy."""
    return [TASKS.get(name) for name in in_order(entry.name for entry in _own(TASKS))]


def _docstring(entry: Entry[Any]) -> Docstring:
    return parse(inspect.getdoc(entry.target) or "")


def _references(docstring: Docstring) -> str:
    """Return the references with links to arXiv, or "" if there are none."""
    text = joined(docstring.references)
    linked = re.sub(r"arXiv:([0-9.]+[0-9])", r"[\g<0>](https://arxiv.org/abs/\1)", text)
    return f"Reference: {linked}" if linked else ""


def _attention_row(entry: Entry[Any]) -> dict[str, str]:
    docstring = _docstring(entry)
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
    lines = records.collect([Path("results/efficiency/cpu-all")])
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
    docstring = _docstring(entry)
    about = map(plain, docstring.about)
    parts = [f"### {entry.name}", *about, plain(docstring.cost), _promises(entry)]
    if entry.options():
        parts.append(table(_option_rows(entry, docstring.options)))
    parts += [_state(entry), _published(entry.name), _references(docstring)]
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
            "default": f"`{_value(default)}`",
            "choices": ", ".join(f"`{choice}`" for choice in choices.get(name, ())),
            "what": joined(meanings.get(name, "see above")),
        }


def _value(value: Any) -> str:
    """Return a value as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _published(attention: str) -> str:
    """Name the published rows that tables show beside an attention."""
    names: dict[str, dict[str, None]] = {}
    for task in TASKS.names():
        for row in published.of(attention, task):
            names.setdefault(row.model, {})[row.source] = None
    rows = "; ".join(f"{model} ({', '.join(sources)})" for model, sources in names.items())
    return f"Published as: {rows}." if rows else ""


def _task(entry: Entry[Any], preset: str) -> Any:
    """Return the task with the options of a preset, or None if it lacks that preset."""
    makers = presets(entry.name)
    return entry.target(**makers[preset]().data) if preset in makers else None


def _task_row(entry: Entry[Any]) -> dict[str, str]:
    task = entry.target()
    return {
        "task": f"[`{entry.name}`](#{entry.name})",
        "what": joined(entry.summary),
        "classes": "tokens" if isinstance(task, TokenTask) else str(task.num_classes),
        "vocabulary": str(task.vocab_size),
        "padding": "no" if task.pad_id is None else "yes",
        **{f"tokens, `{preset}`": _tokens(_task(entry, preset)) for preset in PRESETS},
    }


def _tokens(task: Any) -> str:
    if task is None:
        return "none"
    return f"2 x {task.max_len:,}" if task.paired else f"{task.max_len:,}"


def _task_section(entry: Entry[Any]) -> str:
    docstring = _docstring(entry)
    parts = [
        f"### {entry.name}",
        *map(plain, docstring.about),
        "\n".join(_task_facts(entry.target())),
        table(_preset_row(entry, name) for name in presets(entry.name)),
        f"Options, with their defaults, for `--set data.NAME=VALUE`: {_data_options(entry)}.",
        _references(docstring),
    ]
    return "\n\n".join(filter(None, parts))


def _task_facts(task: Any) -> Iterable[str]:
    if isinstance(task, TokenTask):
        first, last = task.ordinary
        yield f"- Predicted are tokens from {first} to {last}; {task.mask_id} hides a token."
    else:
        yield f"- {task.num_classes} classes: {', '.join(task.class_names)}."
    padding = "no token is padding" if task.pad_id is None else f"{task.pad_id} is padding"
    yield f"- Token ids from 0 to {task.vocab_size - 1}; {padding}."
    for source in task.sources:
        yield _source(source)


def _source(source: Source) -> str:
    """Describe where the data come from and how they are split."""
    files = plain(source.files) or "generated here"
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
    """Return the number of examples of train, validation and test, from the default source."""
    sizes = task.sizes(task.sources[0].name)
    limits = sizes or {split: getattr(task, f"{split}_size") for split in SPLITS}
    return " / ".join(f"{limits[split]:,}" if limits[split] else "all" for split in SPLITS)


def _data_options(entry: Entry[Any]) -> str:
    """Return the options of the data with their values in the full task."""
    fields = dataclasses.fields(entry.target())
    return ", ".join(f"`{field.name}={_value(field.default)}`" for field in fields)
