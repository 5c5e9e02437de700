"""Which runs a sweep is made of."""

import fnmatch
import itertools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lra_bench.config import check_options, make_settings, of_attention
from lra_bench.errors import UsageError
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.settings import RunSettings

_ALL = "all"


@dataclass(frozen=True)
class Choice:
    """What a sweep is asked to hold: all combinations.

    Attributes:
        tasks, attentions: names, or "all".
        overrides: "group.key=value" of every run; attention.* of those that have it.
        grid: for each key the values to be tried.
        filters: patterns of names; a run must match one, if there is any.
    """

    tasks: tuple[str, ...]
    attentions: tuple[str, ...]
    seeds: tuple[int, ...]
    preset: str
    overrides: tuple[str, ...] = ()
    grid: tuple[tuple[str, tuple[str, ...]], ...] = ()
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One run of a sweep; `name` is that of its folder, `kind` what its seeds share of it."""

    kind: str
    task: str
    attention: str
    preset: str
    seed: int
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Such as "listops-linear-seed0"."""
        return f"{self.kind}-seed{self.seed}"

    def settings(self) -> RunSettings:
        """The settings of its run.

        Raises:
            UsageError: there can't be such a run.
        """
        return make_settings(self.task, self.attention, self.preset, self.seed, self.overrides)

    def arguments(self) -> list[str]:
        """What says the same to `lra-bench run`."""
        words = ["--task", self.task, "--attention", self.attention, "--preset", self.preset]
        words += ["--seed", str(self.seed)]
        return words + [word for override in self.overrides for word in ("--set", override)]

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        return asdict(self)


def jobs(choice: Choice) -> list[Job]:
    """All runs of a sweep, those of the first seed first.

    Raises:
        UsageError: a name or a setting is wrong, or nothing is left by the filters.
    """
    tasks, attentions = _names(choice.tasks, TASKS), _names(choice.attentions, ATTENTIONS)
    check_options([*choice.overrides, *(f"{key}=" for key, _ in choice.grid)], attentions)
    points = [_point(choice.grid, values) for values in itertools.product(*_values(choice.grid))]
    found = dict.fromkeys(
        _job(choice, task, attention, seed, point)
        for seed, task, attention, point in itertools.product(
            choice.seeds, tasks, attentions, points
        )
    )
    kinds = {job.kind: job for job in found}
    if len(found) > len(kinds) * len(set(choice.seeds)):
        raise UsageError("--grid: some of these values would share the same folder")
    for job in kinds.values():
        job.settings()
    kept = [job for job in found if _matches(job.name, choice.filters)]
    if not kept:
        raise UsageError(
            f"--filter {','.join(choice.filters)} leaves none of {len(found)} runs, "
            f"such as {next(iter(found)).name}"
        )
    return kept


def check_folders(jobs: Sequence[Job], out: Path) -> None:
    """See that no folder of these runs holds something else.

    Raises:
        UsageError: one does, or holds a run of another config.
        RunError: what one holds can't be read.
    """
    for job in jobs:
        RunFolder(out / job.name).check_owner(job.settings())


def _names(given: Sequence[str], registry: Any) -> list[str]:
    names = registry.names() if _ALL in given else list(dict.fromkeys(given))
    for name in names:
        registry.get(name)
    return names


def _values(grid: Sequence[tuple[str, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    return [values for _, values in grid]


def _point(grid: Sequence[tuple[str, tuple[str, ...]]], values: Sequence[str]) -> list[str]:
    return [f"{key}={value}" for (key, _), value in zip(grid, values, strict=True)]


def _job(choice: Choice, task: str, attention: str, seed: int, point: Sequence[str]) -> Job:
    mine = of_attention(point, attention)
    overrides = (*of_attention(choice.overrides, attention), *mine)
    parts = [task, attention, *map(_short, mine)]
    return Job("-".join(parts), task, attention, choice.preset, seed, overrides)


def _short(override: str) -> str:
    """Of "data.source=my/data" what a folder's name can hold: "data.source=my_data"."""
    return re.sub(r"[^\w.=+-]+", "_", override)


def _matches(name: str, filters: Sequence[str]) -> bool:
    """Whether it matches a pattern, or has a plain word of them in it."""
    return not filters or any(
        fnmatch.fnmatchcase(name, pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}*")
        for pattern in filters
    )
