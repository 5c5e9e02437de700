"""The names under which attentions stand in tables and figures."""

from functools import cache
from typing import Any

from lra_bench.errors import UsageError
from lra_bench.records.record import Record
from lra_bench.registry import ATTENTIONS


def label(run: Record) -> str:
    """Return the attention of a run, with its changed options and the attention it started from."""
    return attention_label(run.attention, run.config["attention_options"]) + _origin(run)


def attention_label(attention: str, options: dict[str, Any]) -> str:
    """Return the attention with its changed options, such as "linformer (num_projected=64)"."""
    changed = [f"{key}={value}" for key, value in changed_options(attention, options).items()]
    return attention + (f" ({', '.join(changed)})" if changed else "")


def changed_options(attention: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that differ from the attention's defaults, sorted by name."""
    defaults = _defaults(attention)
    return {key: value for key, value in sorted(options.items()) if defaults.get(key) != value}


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
