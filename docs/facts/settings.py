"""Facts of the settings: what each means, and its value in each preset."""

import functools
from collections.abc import Iterable

from facts.text import joined, table, tasks, value_text
from lra_bench.cli.settings_list import SettingRow, settings_of
from lra_bench.config import presets
from lra_bench.ranges import defaults_of
from lra_bench.registry import ATTENTIONS, IDENTITY
from lra_bench.settings import ModelSettings, TrainSettings


def settings_table() -> str:
    """Return tables of the settings that all tasks share: range, meaning, value if it is one."""
    return "\n\n".join(
        f"### {group}\n\n{table(map(_setting_row, rows))}"
        for group in ("train", "model")
        if (rows := [setting for setting in _shared() if setting.key.startswith(f"{group}.")])
    )


def task_settings() -> str:
    """Return for each task its data options and, for each preset, the settings that vary."""
    return "\n\n".join(_settings_section(entry.name) for entry in tasks())


def difference_table() -> str:
    """Return a table of the settings in which presets small and nystromformer differ."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for entry in tasks():
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
                yield f"{group}.{key}", value_text(one[group][key]), value_text(value)


def _shared() -> list[SettingRow]:
    return [x for x in _settings(tasks()[0].name) if x.key.startswith(("train.", "model."))]


@functools.cache
def _settings(task: str) -> list[SettingRow]:
    return [x for x in settings_of(task, IDENTITY) if not x.key.startswith("attention.")]


@functools.cache
def _only_value(key: str) -> str | None:
    """Return the value that a setting has in every preset of every task; None if they differ."""
    found = {v for e in tasks() for x in _settings(e.name) if x.key == key for v in x.by_value}
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
