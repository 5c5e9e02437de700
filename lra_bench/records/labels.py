"""The names under which attentions stand in tables and figures."""

from functools import cache
from typing import Any

from lra_bench.errors import UsageError
from lra_bench.records.departures import of_preset
from lra_bench.records.record import Record
from lra_bench.registry import ATTENTIONS


def label(run: Record) -> str:
    """Return the attention of a run, with its changed options and the attention it started from."""
    usual = _options_of_preset(run.task, run.attention, run.preset)
    return _label(run.attention, run.config["attention_options"], usual) + _origin(run)


def attention_label(attention: str, options: dict[str, Any]) -> str:
    """Return the attention with its changed options, such as "linformer (num_projected=64)"."""
    return _label(attention, options, _defaults(attention))


def _label(attention: str, options: dict[str, Any], usual: dict[str, Any]) -> str:
    changed = [f"{key}={value}" for key, value in _differing(options, usual).items()]
    return attention + (f" ({', '.join(changed)})" if changed else "")


def changed_options(attention: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that differ from the attention's defaults, sorted by name."""
    return _differing(options, _defaults(attention))


def _differing(options: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sorted(options.items()) if usual.get(key) != value}


def _options_of_preset(task: str, attention: str, preset: str) -> dict[str, Any]:
    """Return the options that a preset has for an attention; its defaults if it is unknown."""
    try:
        return of_preset(task, attention, preset)["attention_options"]
    except UsageError:
        return _defaults(attention)


@cache
def _defaults(attention: str) -> dict[str, Any]:
    try:
        return ATTENTIONS.get(attention).options()
    except UsageError:
        return {}


def _origin(run: Record) -> str:
    """Name the attention whose checkpoint a run started with; it was trained before this run."""
    if run.init_from is None:
        return ""
    where = "" if run.init_from.task == run.task else f" on {run.init_from.task}"
    return f" from {run.init_from.attention}{where}"
