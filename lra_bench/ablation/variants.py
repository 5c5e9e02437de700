"""The variants that a study compares, each with the records of its runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lra_bench.ablation.studies import Ablation, Config
from lra_bench.records.record import Record
from lra_bench.sweep.plan import Job

_GROUPS = {"data": "data", "attention_options": "attention", "model": "model", "train": "train"}


@dataclass(frozen=True)
class Variant:
    """A variant of attention, with what its runs left.

    Attributes:
        texts: its name, a text for each column of the study.
        runs: in the order of their seeds.
    """

    texts: tuple[str, ...]
    runs: tuple[Record, ...]


def variants(study: Ablation, jobs: Iterable[Job], records: Iterable[Record]) -> list[Variant]:
    """Return the variants in the order of the plan; those of earlier commands come last.

    A record counts if all its settings but those that the study varies are those of the plan.

    Args:
        study: the study.
        jobs: the runs of the plan.
        records: of the folder of the study.
    """
    configs = [job.settings().as_dict() for job in jobs]
    fixed = [_fixed(config, study.varied) for config in configs]
    runs: dict[tuple[str, ...], list[Record]] = {study.texts(config): [] for config in configs}
    for run in sorted(records, key=lambda run: run.seed):
        if _fixed(run.config, study.varied) in fixed:
            runs.setdefault(study.texts(run.config), []).append(run)
    return [Variant(texts, tuple(found)) for texts, found in runs.items()]


def _fixed(config: Config, varied: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run by their keys, without the seed and what a study varies."""
    single = {key: value for key, value in config.items() if key not in (*_GROUPS, "seed")}
    grouped = {
        f"{name}.{key}": value
        for group, name in _GROUPS.items()
        for key, value in config[group].items()
    }
    return {key: value for key, value in (single | grouped).items() if key not in varied}
