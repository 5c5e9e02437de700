"""Write the command that repeats a run or measures a group of efficiency cells again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lra_bench.display import command as shell
from lra_bench.efficiency import plan
from lra_bench.efficiency.measurement import Measurement
from lra_bench.efficiency.plan import Choice
from lra_bench.errors import UsageError
from lra_bench.records.departures import Departure, departures
from lra_bench.records.record import Record
from lra_bench.records.run_folder import COPIES
from lra_bench.registry import IDENTITY
from lra_bench.scaling import rows
from lra_bench.scaling.groups import Comparable
from lra_bench.scaling.rows import Measured
from lra_bench.settings import TrainSettings

_USUAL = Choice()
_FLAGS = {"attentions": "--attentions", "lengths": "--lengths", "scopes": "--scope",
          "sizes": "--size", "preset": "--preset", "passes": "--pass", "batches": "--batch",
          "dtypes": "--dtype", "layers": "--layers", "devices": "--devices", "target": "--target",
          "memory_limit": "--memory-limit"}  # fmt: skip


@dataclass(frozen=True)
class Again:
    """A command that repeats a run.

    Attributes:
        command: for a shell.
        doubt: why the command may not give the same settings here; "" if it does.
    """

    command: str
    doubt: str


def again(run: Record) -> Again:
    """Return the command that repeats a run: its names, and where it departs from its preset."""
    names = {"task": _named(run, "task"), "attention": _named(run, "attention")}
    names |= {"preset": run.preset, "seed": str(run.seed)}
    words = ["run", *(x for key, value in names.items() for x in (f"--{key}", value))]
    for change in changes(run):
        words += ["--set", f"{change.key}={_argument(change.value)}"]
    if run.init_from is not None:
        words += ["--init-from", run.init_from.path or "CHECKPOINT"]
    return Again(shell.command(*words), _doubt(run))


def _named(run: Record, kind: str) -> str:
    """Return the name of a run's task or attention, after its file if it is of a user's.

    The file is the copy in the folder of the run, if it is there.
    """
    name, file = getattr(run, kind), run.config.get(f"{kind}_file")
    if file is None:
        return name
    copy = (run.path or Path()).parent / COPIES[f"{kind}_file"]
    return f"{copy if copy.exists() else _file_name(file)}:{name}"


def _file_name(file: Any) -> str:
    """Return the name of a user's file by what a config holds of it."""
    return str(file["name"]) if isinstance(file, dict) and "name" in file else "FILE.py"


def changes(run: Record) -> list[Departure]:
    """Return the settings to change for the same run; none if its preset is unknown here."""
    try:
        changed = departures(run, with_attention=True)
    except UsageError:
        return []
    return [departure for departure in changed if departure.in_run and departure.in_preset]


def _doubt(run: Record) -> str:
    """Say why `changes` may not be all."""
    try:
        changed = departures(run, with_attention=True)
    except UsageError as error:
        unknown, _, _ = str(error).partition(";")
        return f"Not known here: {unknown}."
    lacking = [str(departure) for departure in changed if not departure.in_preset]
    return f"This version has no {', '.join(lacking)}." if lacking else ""


def _argument(value: Any) -> str:
    """Return a setting as the command line takes it; a list of JSON was a tuple."""
    return str(tuple(value)) if isinstance(value, list) else str(value)


def command(group: Comparable) -> str | None:
    """Return the shell command that measures a group again; None if no single command does."""
    wanted, machine = {_kind(row) for row in group.rows}, group.first.machine
    usual = _choice(group)
    changed = replace(usual, overrides=(*usual.overrides, *_changes(group, usual)))
    for choice in (usual, changed):
        if wanted <= _kinds(choice, machine):
            return _shell(choice)
    return None


def _changes(group: Comparable, choice: Choice) -> list[str]:
    """Return the settings in which a group differs from its preset, as `--set` takes them."""
    if group.first.preset is None or group.by == "size":
        return []
    usual = next((row.setting.model for row in _rows(choice, group.first.machine)), "{}")
    mine, presets = json.loads(group.first.model), json.loads(usual)
    of_training = {field.name for field in fields(TrainSettings)}
    return [
        f"{'train' if key in of_training else 'model'}.{key}={_argument(value)}"
        for key, value in mine.items()
        if presets.get(key) != value
    ]


def _choice(group: Comparable) -> Choice:
    """Return the choice of a group; tasks have their own length, batch and layers if several."""
    first, several = group.first, group.by == "size"
    names = sorted({row.attention for row in group.rows} - {IDENTITY}) or [IDENTITY]
    return Choice(
        attentions=tuple(names),
        lengths=() if several else tuple(sorted({row.length for row in group.rows})),
        scopes=(first.scope,),  # type: ignore[arg-type]
        sizes=tuple(dict.fromkeys(row.setting.size for row in group.rows)),
        passes=_USUAL.passes if first.direction == "step" else (first.direction,),  # type: ignore[arg-type]
        preset=first.preset or _USUAL.preset,
        batches=() if several else (first.batch,),
        dtypes=(first.dtype,),
        layers=() if several or first.layers is None else (first.layers,),
        devices=first.devices,
        target=first.target,
        memory_limit=first.memory_limit,
        overrides=tuple(_overrides(group)),
    )


def _overrides(group: Comparable) -> list[str]:
    """Return the changed options of all attentions, each once, as `--set` takes them."""
    options = [
        f"attention.{key}={_argument(value)}"
        for label in group.labels()
        for key, value in group.of(label)[0].options.items()
    ]
    return list(dict.fromkeys(options))


def _kinds(choice: Choice, machine: str) -> set[Any]:
    """Return what a choice would measure at one length; an empty set if it is invalid here."""
    return {_kind(row) for row in _rows(choice, machine)}


def _rows(choice: Choice, machine: str) -> list[Measured]:
    """Return the rows of a choice at its shortest length; none if it is invalid here."""
    shortest = replace(choice, lengths=choice.lengths[:1])
    try:
        lines = [Measurement(cell, machine) for cell in plan.cells(shortest)]
    except (UsageError, TypeError, ValueError):
        return []
    return rows.from_lines(lines)


def _kind(row: Measured) -> Any:
    return row.setting, row.label


def _shell(choice: Choice) -> str:
    """Return the command line that asks for a choice."""
    return shell.command("efficiency", *_flags(choice), *shell.settings(choice.overrides))


def _flags(choice: Choice) -> Iterator[str]:
    """Yield the flags that are not at their defaults."""
    for name, flag in _FLAGS.items():
        value = getattr(choice, name)
        if value != getattr(_USUAL, name):
            yield flag
            yield _size(value) if name == "memory_limit" else _list(value)


def _list(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _size(limit: int) -> str:
    return f"{limit // 2**30}GiB" if limit % 2**30 == 0 else str(limit)
