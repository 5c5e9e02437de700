"""Check that a mechanism or a task keeps its contract, as far as it tells without being run."""

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from lra_bench.contracts import Source, Task
from lra_bench.ranges import is_setting
from lra_bench.suggest import quoted

# A name is a part of folder names and of tables.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_NAME = 64
_PRESET_NAME = re.compile(r"[a-z0-9]+([-_.][a-z0-9]+)*")


def built_by(target: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function whose parameters are the options: that of a class makes its instances."""
    return target.__init__ if isinstance(target, type) else target


def options_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the options that a user may set, with their defaults: keyword-only parameters."""
    parameters = inspect.signature(built_by(target)).parameters.values()
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "rngs"]
    return {p.name: p.default for p in named}


def check_name(kind: str, name: Any) -> None:
    """Check the name of an attention or a task.

    Args:
        kind: "attention" or "task".
        name: to check.

    Raises:
        ValueError: it is malformed.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"{kind} name {quoted_value(name)}: must be lower-case words joined by hyphens, "
            f"at most {_LONGEST_NAME} characters"
        )


def check_mechanism(name: str, target: Any, arrays: tuple[str, ...]) -> None:
    """Check that a mechanism can be built, called and configured, as far as its signature tells.

    Args:
        name: of the mechanism.
        target: the function or class.
        arrays: the names of the arrays that it is called with.

    Raises:
        ValueError: it can't.
    """
    if not callable(target) or not hasattr(target, "__qualname__"):
        raise ValueError(f"attention {name!r} is no function and no class")
    if isinstance(target, type):
        _check_class(name, target, arrays)
    _check_signatures(name, target, arrays)
    for option, default in options_of(target).items():
        _check_default(f"attention {name!r}", option, default)


def _check_class(name: str, target: type, arrays: tuple[str, ...]) -> None:
    """Raise ValueError for a class that lacks a method of a mechanism."""
    if not any("__call__" in vars(each) for each in target.__mro__):
        raise ValueError(f"attention {name!r}: its class has no __call__({', '.join(arrays)})")
    if target.__init__ is object.__init__:
        raise ValueError(f"attention {name!r} can't be built as cls(dims, rngs=rngs)")


def _check_signatures(name: str, target: Callable[..., Any], arrays: tuple[str, ...]) -> None:
    """Raise ValueError for a mechanism that takes other arguments."""
    is_class = isinstance(target, type)
    built = inspect.signature(built_by(target))
    call = inspect.signature(target.__call__) if is_class else built
    try:
        call.bind(*("self" for _ in range(is_class)), *arrays)
        if is_class:
            built.bind("self", "dims", rngs="rngs")
    except TypeError as error:
        form = "built as cls(dims, rngs=rngs) and " if is_class else ""
        raise ValueError(
            f"attention {name!r} can't be {form}called with ({', '.join(arrays)}): {error}"
        ) from None


def _check_default(owner: str, option: str, default: Any) -> None:
    """Raise ValueError for the default of an option that JSON cannot hold."""
    if not is_setting(default):
        raise ValueError(
            f"{owner}: the default of its option {option!r} is no JSON value: "
            f"{type(default).__name__}; use numbers, strings, bools, None, or tuples of them"
        )


def check_task(name: str, target: Any) -> None:
    """Check that a task is a class with everything that a `Task` has.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(target, type):
        raise ValueError(f"task {name!r} is no class")
    lacking = [
        each for each in vars(Task) if not each.startswith("_") and not hasattr(target, each)
    ]
    if lacking:
        raise ValueError(f"task {name!r} lacks {', '.join(lacking)}")


def check_usable(name: str, target: Callable[..., Any], module: str) -> None:
    """Check that a task can be made with its defaults and has presets.

    Args:
        name: of the task.
        target: its class.
        module: the name of the module that registered it.

    Raises:
        ValueError: it can't, or has none.
    """
    task: Any = target()
    if task.name != name:
        raise ValueError(f"task {name!r} calls itself {quoted_value(task.name)}")
    if not task.sources or not all(isinstance(source, Source) for source in task.sources):
        raise ValueError(f"task {name!r} has no sources")
    for option in fields(task):
        _check_default(f"task {name!r}", option.name, getattr(task, option.name))
    presets_of(name, module)


def presets_of(name: str, module: str) -> Mapping[str, Callable[[], Any]]:
    """Return the presets of a task, from `lra_bench.configs` or from the task's own module.

    Args:
        name: of the task.
        module: the name of its own module.

    Raises:
        ValueError: there are none, or they are no mapping of names to functions.
    """
    configs = f"lra_bench.configs.{name.replace('-', '_')}"
    if importlib.util.find_spec(configs) is not None:
        module = configs
    presets = getattr(importlib.import_module(module), "PRESETS", None)
    if not isinstance(presets, Mapping) or not presets:
        raise ValueError(
            f"task {name!r} has no presets: {module} must have a dict PRESETS of functions"
        )
    for key, preset in presets.items():
        if not isinstance(key, str) or not _PRESET_NAME.fullmatch(key) or not callable(preset):
            raise ValueError(
                f"task {name!r}: PRESETS of {module} holds {quoted_value(key)}, which is no name "
                "of lower-case words and digits with a function"
            )
    return presets


def quoted_value(value: object) -> str:
    """Return a value in quotes, on one line and not too long."""
    return quoted(value) if isinstance(value, str) else f"of type {type(value).__name__}"
