"""All settings of a run: what is valid, what they mean, and the value in each preset."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lra_bench.config import make_settings, presets
from lra_bench.ranges import expected, hints_of
from lra_bench.registry import ATTENTIONS, TASKS, data_types, make_task
from lra_bench.report.docstring import meanings
from lra_bench.settings import ModelSettings, RunSettings, TrainSettings


@dataclass(frozen=True)
class SettingRow:
    """One setting that `--set` takes.

    Attributes:
        key: such as "train.num_steps".
        valid: what a value may be, in words.
        meaning: what it does.
        presets: its value in each preset, as `--set` takes it.
    """

    key: str
    valid: str
    meaning: str
    presets: Mapping[str, str]

    @property
    def by_value(self) -> dict[str, list[str]]:
        """Return the presets that have each value."""
        found: dict[str, list[str]] = {}
        for preset, value in self.presets.items():
            found.setdefault(value, []).append(preset)
        return found


def settings_of(task: str, attention: str) -> list[SettingRow]:
    """Return all settings of a run with this task and this attention.

    Raises:
        UsageError: the task or the attention is unknown.
    """
    types, meant = _types(task, attention), _meanings(task, attention)
    values = {name: _groups(make_settings(task, attention, name, 0)) for name in presets(task)}
    return [
        SettingRow(
            key=f"{group}.{name}",
            valid=expected(hint),
            meaning=meant[group].get(name, ""),
            presets={preset: _text(groups[group][name]) for preset, groups in values.items()},
        )
        for group, hints in types.items()
        for name, hint in hints.items()
    ]


def _types(task: str, attention: str) -> dict[str, dict[str, Any]]:
    return {
        "train": hints_of(TrainSettings),
        "model": hints_of(ModelSettings),
        "data": {**data_types(task), "source": Literal[_sources(task)]},
        "attention": ATTENTIONS.get(attention).types(),
    }


def _sources(task: str) -> tuple[str, ...]:
    """Return the names of the sources of a task with its default options."""
    return tuple(source.name for source in make_task(task, {}).sources)


def _meanings(task: str, attention: str) -> dict[str, dict[str, str]]:
    return {
        "train": meanings(TrainSettings),
        "model": meanings(ModelSettings),
        "data": {**meanings(TASKS.get(task).target), "source": "where the data come from"},
        "attention": meanings(ATTENTIONS.get(attention).target),
    }


def _groups(settings: RunSettings) -> dict[str, dict[str, Any]]:
    values = settings.as_dict()
    data = {**values["data"], "source": values["data_source"]}
    groups = {"train": values["train"], "model": values["model"], "data": data}
    return {**groups, "attention": values["attention_options"]}


def _text(value: Any) -> str:
    """Return a value as `--set` takes it."""
    if isinstance(value, list | tuple):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def lines(settings: list[SettingRow], width: int) -> Iterator[str]:
    """Yield lines for people, at most `width` characters wide where words allow."""
    for setting in settings:
        yield f"{setting.key}: {setting.valid}"
        for text in (setting.meaning, _of_presets(setting)):
            yield from textwrap.wrap(
                text, width, initial_indent="    ", subsequent_indent="    ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
        yield ""


def _of_presets(setting: SettingRow) -> str:
    """Return the values with their presets: "0.002 (smoke, mini), 0.0001 (small)"."""
    values = setting.by_value
    if len(values) == 1:
        return f"{next(iter(values))} in every preset"
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in values.items())
