"""Compare the settings of results."""

from collections.abc import Iterable, Mapping
from typing import Any

from lra_bench.leaderboard.results import Result

# Stands for a setting that a result lacks: some records are older than the setting.
_NONE = object()


def shared(results: Iterable[Result]) -> dict[str, Any]:
    """Return the settings that all results have with one value, by their dotted names."""
    first, *others = (flat(result) for result in results)
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key, _NONE) == value for other in others)
    }


def flat(result: Result) -> dict[str, Any]:
    """Return the settings of a result by their dotted names, such as "train.num_steps".

    They are those of its first run: the others differ by the seed, which is left out.
    """
    settings = {key: value for key, value in result.runs[0].config.items() if key != "seed"}
    return dict(_flat(settings))


def _flat(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", each) for name, each in value.items())
        else:
            yield key, value
