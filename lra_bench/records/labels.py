"""The names under which attentions stand in tables and figures."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from lra_bench.errors import UsageError
from lra_bench.records.departures import objective, of_preset, options_of_file
from lra_bench.records.record import Record
from lra_bench.registry import ATTENTIONS


def label(run: Record) -> str:
    """Return the attention of a run, with its changed options and the attention it started from."""
    return _label(run.attention, run.config["attention_options"], _usual_of(run)) + _origin(run)


def labels(runs: Sequence[Record]) -> list[str]:
    """Return the name of each run's row; versions of one file have its checksum in their names."""
    files = [(run.attention, run.config.get("attention_file")) for run in runs]
    suffixes = versions(files)
    return [label(run) + suffix for run, suffix in zip(runs, suffixes, strict=True)]


def _usual_of(run: Record) -> dict[str, Any]:
    """Return the options that the attention has unless they are changed."""
    file, predicted = run.config.get("attention_file"), objective(run.config)
    if file is None:
        return _options_of_preset(run.task, run.attention, run.preset, predicted)
    implied = {} if predicted is None else {"causal": predicted == "next"}
    return options_of_file(file) | implied


def versions(files: Sequence[tuple[str, Any]]) -> list[str]:
    """Return for each attention what tells it from another version of its file; "" for the only.

    Args:
        files: name of an attention, and what a config holds of its file, or None.
    """
    found: dict[str, set[str]] = {}
    for attention, file in files:
        found.setdefault(attention, set()).add(_version(file))
    return [_version(file) if len(found[attention]) > 1 else "" for attention, file in files]


def _version(file: Any) -> str:
    """Return what stands after the name of an attention to tell versions of its file apart."""
    sha256 = file.get("sha256") if isinstance(file, dict) else None
    return f" @{sha256[:8]}" if isinstance(sha256, str) else ""


def attention_label(attention: str, options: dict[str, Any], file: Any = None) -> str:
    """Return the attention with its changed options, such as "linformer (num_projected=64)".

    Args:
        attention: its name.
        options: those that it has.
        file: what a config holds of the file of the user that registers it, or None.
    """
    return _label(attention, options, _usual(attention, file))


def _usual(attention: str, file: Any) -> dict[str, Any]:
    return _defaults(attention) if file is None else options_of_file(file)


def _label(attention: str, options: dict[str, Any], usual: dict[str, Any]) -> str:
    changed = [f"{key}={value}" for key, value in _differing(options, usual).items()]
    return attention + (f" ({', '.join(changed)})" if changed else "")


def changed_options(attention: str, options: dict[str, Any], file: Any = None) -> dict[str, Any]:
    """Return the options that differ from the attention's defaults, sorted by name."""
    return _differing(options, _usual(attention, file))


def _differing(options: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in sorted(options.items()) if usual.get(key) != value}


def _options_of_preset(
    task: str, attention: str, preset: str, predicted: str | None
) -> dict[str, Any]:
    """Return the options that a preset has for an attention; its defaults if it is unknown."""
    try:
        return of_preset(task, attention, preset, predicted)["attention_options"]
    except UsageError:
        return _defaults(attention)


@cache
def _defaults(attention: str) -> dict[str, Any]:
    entry = ATTENTIONS.find(attention)
    return {} if entry is None else entry.options()


def _origin(run: Record) -> str:
    """Name the attention whose checkpoint a run started with; it was trained before this run."""
    if run.init_from is None:
        return ""
    where = "" if run.init_from.task == run.task else f" on {run.init_from.task}"
    return f" from {run.init_from.attention}{where}"
