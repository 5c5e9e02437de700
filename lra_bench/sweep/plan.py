"""The plan of a sweep: the list of its runs, from what the user chose."""

import contextlib
import fnmatch
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lra_bench.choices import ALL, go_together, left_out, names, tasks_without
from lra_bench.config import check_options, limited, make_settings, of_attention
from lra_bench.errors import UsageError
from lra_bench.files.atomic import write_atomically
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.runtime.source_files import SourceFile
from lra_bench.settings import RunSettings

# The folder of a sweep that holds copies of the files of the user.
FILES = "files"


@dataclass(frozen=True)
class Choice:
    """A Choice says which runs a sweep holds: all combinations of its parts.

    Attributes:
        tasks: names, or "all" that have the preset.
        attentions: names, or "all".
        seeds: one run for each.
        preset: the preset of all runs.
        overrides: "group.key=value" for every run; attention.* only for those that have the option.
        grid: pairs of a key and the values to try.
        filters: words or patterns; if there are any, only runs whose name matches one are kept.
        base: overrides over which the limit and the others win.
        of_attentions: the same for the runs of one attention each, by its name.
        limit: most training steps, and most examples of each evaluation; None for any.
    """

    tasks: tuple[str, ...]
    attentions: tuple[str, ...]
    seeds: tuple[int, ...]
    preset: str
    overrides: tuple[str, ...] = ()
    grid: tuple[tuple[str, tuple[str, ...]], ...] = ()
    filters: tuple[str, ...] = ()
    limit: int | None = None
    base: tuple[str, ...] = ()
    of_attentions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        kind: the name without the seed; runs that differ only in the seed share it.
        task, attention, preset: names.
        seed: seed of all random numbers.
        overrides: settings that differ from the preset, as "group.key=value".
        attention_file, task_file: paths of the files of the user that register them; None for
            those of packages.
    """

    kind: str
    task: str
    attention: str
    preset: str
    seed: int
    overrides: tuple[str, ...]
    attention_file: str | None = None
    task_file: str | None = None

    @property
    def name(self) -> str:
        """Return the name of the run and of its folder, such as "listops-linear-seed0"."""
        return f"{self.kind}-seed{self.seed}"

    def settings(self) -> RunSettings:
        """Return the settings of the run.

        Raises:
            UsageError: a name or a setting is wrong.
        """
        for registry, name in ((TASKS, self._task), (ATTENTIONS, self._attention)):
            registry.named(name)
        return make_settings(self.task, self.attention, self.preset, self.seed, self.overrides)

    @property
    def _task(self) -> str:
        """Return the task as `lra-bench run` takes it."""
        return f"{self.task_file}:{self.task}" if self.task_file else self.task

    @property
    def _attention(self) -> str:
        """Return the attention as `lra-bench run` takes it."""
        return f"{self.attention_file}:{self.attention}" if self.attention_file else self.attention

    def arguments(self) -> list[str]:
        """Return the arguments with which `lra-bench run` does this run."""
        words = ["--task", self._task, "--attention", self._attention, "--preset", self.preset]
        words += ["--seed", str(self.seed)]
        return words + [word for override in self.overrides for word in ("--set", override)]

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, ready for JSON."""
        return asdict(self)


def jobs(choice: Choice) -> list[Job]:
    """Return all runs of a sweep, those of the first seed first.

    Raises:
        UsageError: a name or a setting is wrong, or no run matches the filters.
    """
    tasks, attentions = _tasks(choice), names(choice.attentions, ATTENTIONS)
    check_options([*choice.base, *choice.overrides], attentions)
    with _blaming_grid(choice):
        check_options([f"{key}=" for key, _ in choice.grid], attentions)
    _check_grid(choice)
    points = _grid_points(choice.grid)
    combinations = itertools.product(choice.seeds, tasks, attentions, points)
    planned = list(dict.fromkeys(_job(choice, *each) for each in combinations))
    if ALL in (*choice.tasks, *choice.attentions):
        planned = [job for job in planned if _is_possible(job)] or planned
    kinds = {job.kind: job for job in planned}
    if len(planned) > len(kinds) * len(set(choice.seeds)):
        raise UsageError("--grid: some of these values would share the same folder")
    with _blaming_grid(choice):
        _check_settings(list(kinds.values()))
    matching = [job for job in planned if _matches(job.name, choice.filters)]
    if not matching:
        raise UsageError(
            f"--filter {','.join(choice.filters)} matches none of the {len(planned)} runs, "
            f"such as {planned[0].name}"
        )
    return matching


def _check_grid(choice: Choice) -> None:
    """Check that no setting has several places of which one alone would count.

    Raises:
        UsageError: one has.
    """
    keys = [key.strip() for key, _ in choice.grid]
    set_already = {item.partition("=")[0].strip() for item in choice.overrides}
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise UsageError(f"--grid {key}: is there twice; list all its values in one")
        if key in set_already:
            raise UsageError(f"--grid {key}: --set {key} is there too; leave out one")


@contextlib.contextmanager
def _blaming_grid(choice: Choice) -> Iterator[None]:
    """Raise each UsageError about a key of the grid as one of --grid."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        for key, _ in choice.grid:
            text = text.replace(f"--set {key}", f"--grid {key}")
            text = text.replace(f"--set key '{key}'", f"--grid key '{key}'")
        raise UsageError(text) from None


def _check_settings(jobs: Sequence[Job]) -> None:
    """Check the settings of runs of different kinds, and that no two have the same.

    Raises:
        UsageError: a setting is wrong, or two values of the grid are one.
    """
    seen: dict[str, Job] = {}
    for job in jobs:
        settings = json.dumps(job.settings().as_dict(), sort_keys=True, default=str)
        other = seen.setdefault(settings, job)
        if other is not job:
            raise UsageError(f"--grid: {other.kind} and {job.kind} would be the same run")


def check_folders(jobs: Sequence[Job], out: Path) -> None:
    """Check that no folder of these runs holds something else.

    Raises:
        UsageError: a folder holds something else, or a run of another config.
        RunError: the config in a folder can't be read.
    """
    for job in jobs:
        RunFolder(out / job.name).check_owner(job.settings())


def not_planned(choice: Choice) -> list[str]:
    """Return a line for people for each task of which "all" leaves out something."""
    return left_out(choice.preset, _tasks_without_preset(choice), attentions_not_causal(choice))


def _tasks_without_preset(choice: Choice) -> list[str]:
    """Return the tasks that "all" leaves out, since they lack the preset of the sweep."""
    return tasks_without(choice.preset) if ALL in choice.tasks else []


def attentions_not_causal(choice: Choice) -> dict[str, list[str]]:
    """Return by task the attentions that "all" leaves out: the task predicts next tokens."""
    if ALL not in (*choice.tasks, *choice.attentions):
        return {}
    attentions = names(choice.attentions, ATTENTIONS)
    wrong = {
        task: [name for name in attentions if not _is_possible(_job(choice, 0, task, name, ()))]
        for task in _tasks(choice)
    }
    return {task: each for task, each in wrong.items() if each}


def _is_possible(job: Job) -> bool:
    """Return whether the attention of a run can be causal, or need not be."""
    return go_together(job.task, job.attention, job.preset, job.overrides)


def _tasks(choice: Choice) -> list[str]:
    """Return the tasks of a sweep; "all" stands for those that have its preset."""
    tasks, without = names(choice.tasks, TASKS), _tasks_without_preset(choice)
    return [task for task in tasks if task not in without] or tasks


def _grid_points(grid: Sequence[tuple[str, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Return the points of a grid, each a tuple of "key=value"; one empty tuple for no grid."""
    axes = [[f"{key}={value}" for value in values] for key, values in grid]
    return list(itertools.product(*axes))


def _job(choice: Choice, seed: int, task: str, attention: str, point: Sequence[str]) -> Job:
    """Return one run; its kind names the values of the grid that apply to its attention."""
    from_grid = of_attention(point, attention)
    own = choice.of_attentions.get(attention, ())
    base = (*of_attention(choice.base, attention), *own)
    short = limited(task, choice.preset, choice.limit, base)
    overrides = (*base, *short, *of_attention(choice.overrides, attention), *from_grid)
    kind = "-".join([task, attention, *map(_in_folder_name, from_grid)])
    return Job(
        kind=kind,
        task=task,
        attention=attention,
        preset=choice.preset,
        seed=seed,
        overrides=overrides,
        attention_file=_path(ATTENTIONS.get(attention).file),
        task_file=_path(TASKS.get(task).file),
    )


def _path(file: SourceFile | None) -> str | None:
    return file and str(file.path)


def with_copies(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Return the runs with copies of the user's files, made in the sweep's folder.

    All runs of a sweep then have the same code, even if a file is edited meanwhile.
    """
    return [_with_copies(job, out.resolve() / FILES) for job in jobs]


def _with_copies(job: Job, folder: Path) -> Job:
    if job.attention_file is None and job.task_file is None:
        return job
    files = ATTENTIONS.get(job.attention).file, TASKS.get(job.task).file
    copies = [file and str(_copy(file, folder)) for file in files]
    return replace(job, attention_file=copies[0], task_file=copies[1])


def _copy(file: SourceFile, folder: Path) -> Path:
    """Return the copy of a file, which is made unless it is there."""
    copy = folder / file.sha256[:16] / file.path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, file.text)
    return copy


def _in_folder_name(override: str) -> str:
    """Return an override as a part of a folder's name: "data.source=my/data" with "my_data"."""
    return re.sub(r"[^\w.=+-]+", "_", override)


def _matches(name: str, filters: Sequence[str]) -> bool:
    """Return whether a name matches a pattern or contains a plain word of the filters."""
    return not filters or any(
        fnmatch.fnmatchcase(name, pattern if re.search(r"[*?\[]", pattern) else f"*{pattern}*")
        for pattern in filters
    )
