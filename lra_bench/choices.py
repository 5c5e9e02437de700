"""The meaning of "all" where tasks and attentions are chosen, and what it leaves out."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from lra_bench.config import can_predict_next, predicts_next, presets
from lra_bench.errors import UsageError
from lra_bench.registry import TASKS

ALL = "all"


def names(given: Sequence[str], registry: Any) -> list[str]:
    """Return registered names, without repeats; "all" stands for every name.

    Raises:
        UsageError: a name is unknown.
    """
    named = registry.all_named([name for name in given if name != ALL])
    return registry.names() if ALL in given else named


def tasks_without(preset: str) -> list[str]:
    """Return the tasks that "all" leaves out, since they lack the preset."""
    return [name for name in TASKS.names() if not _has_preset(name, preset)]


def _has_preset(task: str, preset: str) -> bool:
    """Return whether a task has a preset; a plug-in whose presets are broken has none."""
    try:
        return preset in presets(task)
    except UsageError:
        return False


def go_together(task: str, attention: str, preset: str, overrides: Sequence[str]) -> bool:
    """Return whether an attention can be causal, or need not be for a task.

    Args:
        task, attention, preset: names.
        overrides: "group.key=value"; those of attentions do not matter.

    Raises:
        UsageError: an unknown name or key, or a value of the wrong type or range.
    """
    if can_predict_next(attention):
        return True
    of_task = (item for item in overrides if not item.strip().startswith("attention."))
    return not _predicts_next(task, preset, tuple(of_task))


# The same for many attentions.
_predicts_next = functools.lru_cache(predicts_next)


def left_out(
    preset: str, tasks: Sequence[str], not_causal: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return a line for people for each task of which "all" leaves out something.

    Args:
        preset: a name.
        tasks: that lack the preset.
        not_causal: by task, the attentions that can't predict its next tokens.
    """
    lines = [f"left out: {task}, which has no preset {preset}" for task in tasks]
    return lines + [
        f"left out: {task} with {', '.join(names)}, which can't be causal"
        for task, names in not_causal.items()
    ]
