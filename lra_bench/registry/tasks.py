"""Tasks by their names, and the options of their data."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from lra_bench.contracts import Task
from lra_bench.ranges import type_of
from lra_bench.registry.registry import TASKS


def data_types(name: str) -> dict[str, Any]:
    """Return the type of each data option of a task, with its range or choices.

    Raises:
        UsageError: no task has that name.
    """
    target: Any = TASKS.get(name).target
    try:
        hints = get_type_hints(target, include_extras=True)
    except Exception:  # an annotation may name what is imported for type checkers only
        hints = {}
    return {key: type_of(usual, hints.get(key)) for key, usual in data_options(name).items()}


def data_options(name: str) -> dict[str, Any]:
    """Return the data options of a task, with their defaults.

    Raises:
        UsageError: no task has that name.
    """
    target: Any = TASKS.get(name).target
    task = target()
    return {field.name: getattr(task, field.name) for field in fields(target)}


def make_task(name: str, options: Mapping[str, Any]) -> Task:
    """Return the task of that name with these data options.

    Raises:
        UsageError: no task has that name.
        ValueError: the task refuses the options.
    """
    return TASKS.get(name).target(**options)
