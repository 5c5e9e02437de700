"""Facts of the tasks, from their docstrings and presets."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from facts.text import docstring_of, joined, plain, references, table, tasks, value_text
from lra_bench.cli.new_texts import texts
from lra_bench.config import presets
from lra_bench.contracts import SPLITS, Cautioned, Source, TokenTask
from lra_bench.registry import Entry

PRESETS = ("smoke", "mini", "small", "paper")
# Where the presets of a new task begin.
_FIRST_PRESET = "\n\ndef smoke("


def task_table() -> str:
    """Return a table with one row per task: what it asks, and the length of its inputs."""
    return table(_task_row(entry) for entry in tasks())


def new_task() -> str:
    """Return the task that `lra-bench new task same-ends` writes, without its presets."""
    code, _ = texts("task", "same-ends").values()
    imports = "from lra_bench.configs.base import quick, tiny\n"
    return f"```python\n{code.partition(_FIRST_PRESET)[0].replace(imports, '')}```"


def task_sections() -> str:
    """Return one section per task: its docstring, its facts, its presets."""
    return "\n\n".join(_task_section(entry) for entry in tasks())


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
    docstring = docstring_of(entry)
    parts = [
        f"### {entry.name}",
        *map(plain, docstring.about),
        "\n".join(_task_facts(entry.target())),
        table(_preset_row(entry, name) for name in presets(entry.name)),
        f"Options, with their defaults, for `--set data.NAME=VALUE`: {_data_options(entry)}.",
        f"Caution: {plain(entry.target.caution)}." if isinstance(entry.target, Cautioned) else "",
        references(docstring),
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
    return ", ".join(f"`{field.name}={value_text(field.default)}`" for field in fields)
