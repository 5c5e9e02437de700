"""Which cells may stand in one table, and what a reader must know of them."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from lra_bench.efficiency.cells import HERE
from lra_bench.registry import IDENTITY
from lra_bench.scaling.fits import Crossover, Fit, crossover, fit_exponent
from lra_bench.scaling.rows import Measured, Setting, Spread

_SCOPES = {"attention": "attention alone", "model": "whole model", "train": "training step"}
PASSES = {"forward": "forward", "backward": "forward and backward", "step": ""}


@dataclass(frozen=True)
class Comparable:
    """Cells that may stand in one table.

    Attributes:
        title: names the setting.
        family: the same without the pass, for figures that show both.
        facts: all else that a reader must know of how it was measured, as sentences.
        rows: the cells.
        by: what a table's columns are: "length", or "size" where each task has its own length.
    """

    title: str
    family: str
    facts: str
    rows: tuple[Measured, ...]
    by: Literal["length", "size"]

    @property
    def first(self) -> Setting:
        """The setting of one of the rows, for what they share."""
        return self.rows[0].setting

    @property
    def runs(self) -> bool:
        """Whether it was run, not only compiled."""
        return self.first.target == HERE

    @property
    def clock(self) -> Literal["cpu", "wall"]:
        """The clock of the main figures: CPU time of all threads on CPUs, wall time elsewhere."""
        platforms = {row.platform for row in self.rows if row.wall}
        return "cpu" if platforms == {"cpu"} else "wall"

    def spread(self, row: Measured) -> Spread | None:
        """The main clock's figures."""
        return row.cpu if self.clock == "cpu" else row.wall

    def seconds(self, row: Measured) -> float | None:
        """The main clock's median."""
        spread = self.spread(row)
        return None if spread is None else spread.median

    def of(self, label: str) -> list[Measured]:
        """The rows of one attention, shortest first."""
        return sorted((r for r in self.rows if r.label == label), key=lambda row: row.length)

    def labels(self) -> list[str]:
        """Its attentions: exact first, then the fastest at the longest length; identity last."""
        return sorted({row.label for row in self.rows}, key=self._rank)

    def _rank(self, label: str) -> tuple[Any, ...]:
        mine = self.of(label)
        kind = 2 if mine[0].attention == IDENTITY else 0 if mine[0].exact else 1
        costs = [(row.length, self.seconds(row) or math.inf, row.memory) for row in mine if row.ran]
        length, seconds, memory = costs[-1] if costs else (0, math.inf, None)
        return kind, -length, seconds, memory or math.inf, label

    def exponent_of_time(self, label: str) -> Fit | None:
        """How the main clock's median grows with the length."""
        times = {row.length: self.seconds(row) for row in self.of(label)}
        known = {length: value for length, value in times.items() if value is not None}
        return fit_exponent(list(known), list(known.values()))

    def exponent_of_memory(self, label: str) -> tuple[Fit | None, bool]:
        """How peak memory grows with the length; whether that is of measured, not predicted."""
        ran = [row for row in self.of(label) if row.ran]
        measured = {row.length: row.measured_bytes for row in ran if row.measured_bytes}
        found = fit_exponent(list(measured), list(measured.values()))
        if found is not None:
            return found, True
        planned = {row.length: row.predicted_bytes for row in ran if row.predicted_bytes}
        return fit_exponent(list(planned), list(planned.values())), False

    def crossover(self, label: str, other: str) -> Crossover | None:
        """From which length on an attention is faster than another, over lengths of both."""
        one, two = (
            {row.length: seconds for row in self.of(name) if (seconds := self.seconds(row))}
            for name in (label, other)
        )
        lengths = [length for length in one if length in two]
        return crossover(lengths, [one[x] for x in lengths], [two[x] for x in lengths])


def groups(rows: Iterable[Measured], *, mix_machines: bool = False) -> list[Comparable]:
    """What may stand together: a group a table.

    Several tasks that have one length each are one group, a column a task.

    Args:
        mix_machines: whether machines may share a group; labels then name the machine.
    """
    alike: dict[Setting, list[Measured]] = defaultdict(list)
    for row in rows:
        place = row.setting.machine
        label = f"{row.label} @ {place}" if mix_machines else row.label
        key = replace(row.setting, machine="" if mix_machines else place)
        alike[key].append(replace(row, label=label))
    parts = sorted(_merge_tasks(alike), key=lambda part: _order(part[0]))
    families: dict[str, list[list[Measured]]] = defaultdict(list)
    for part in parts:
        families[_family(part)].append(part)
    return [_group(part, families[_family(part)]) for part in parts]


def column_order(row: Measured) -> tuple[int, str]:
    """By length, then by task."""
    return row.length, row.setting.size


def _merge_tasks(alike: dict[Setting, list[Measured]]) -> list[list[Measured]]:
    """Join those of tasks with one length each; a task that is there twice joins nothing."""
    joined: dict[Setting, list[Setting]] = defaultdict(list)
    for setting, rows in alike.items():
        single = setting.preset is not None and len({row.length for row in rows}) == 1
        key = replace(setting, size="", batch=0, layers=None, model="") if single else setting
        joined[key].append(setting)
    merged = []
    for same in joined.values():
        if len({setting.size for setting in same}) == len(same):
            merged.append([row for setting in same for row in alike[setting]])
        else:
            merged += [alike[setting] for setting in same]
    return merged


def _order(row: Measured) -> tuple[Any, ...]:
    setting = row.setting
    names = (setting.target != HERE, setting.target, setting.machine)
    scope, direction = (
        list(known).index(value) if value in known else len(known)
        for known, value in ((_SCOPES, setting.scope), (PASSES, setting.direction))
    )
    sizes = (setting.size, str(setting.preset), setting.layers or 0, setting.batch or 0)
    rest = (str(setting.devices), str(setting.memory_limit), str(setting.dtype), setting.model)
    return *names, scope, *sizes, direction, *rest


def _family(part: list[Measured]) -> str:
    """Scope, size and machine: what the titles of several groups can share."""
    first, sizes = part[0].setting, {row.setting.size for row in part}
    size = first.size if len(sizes) == 1 else "each task at its own length"
    preset = "" if first.preset is None else f" (preset {first.preset})"
    machines = {row.setting.machine for row in part}
    where = first.machine if len(machines) == 1 else f"{len(machines)} machines"
    return f"{_scope(first)}, {size}{preset}, {where}"


def _scope(setting: Setting) -> str:
    return _SCOPES.get(setting.scope, setting.scope)


def _group(part: list[Measured], family: list[list[Measured]]) -> Comparable:
    """A group, its title lengthened by whatever tells it from the others of its family."""
    first, alike, mine = part[0].setting, _family(part), _details(part)
    others = [_details(other) for other in family]
    tail = [text for key, text in mine.items() if any(it.get(key) != text for it in others)]
    scope, direction = _scope(first), PASSES.get(first.direction, first.direction)
    name = f"{scope}{', ' if direction else ''}{direction}{alike.removeprefix(scope)}"
    several = len({row.setting.size for row in part}) > 1
    return Comparable(
        title=", ".join((name, *tail)),
        family=", ".join((alike, *tail)),
        facts=_facts(part),
        rows=tuple(part),
        by="size" if several else "length",
    )


def _details(part: list[Measured]) -> dict[str, str]:
    """How it was measured, in words, by what; values of several tasks in the order of columns."""
    settings = list(dict.fromkeys(row.setting for row in sorted(part, key=column_order)))
    layers, limit = _values(s.layers for s in settings), settings[0].memory_limit
    devices = _values(s.devices for s in settings)
    found = {
        "batch": f"batch {_values(s.batch for s in settings)}",
        "dtype": _values(s.dtype for s in settings),
        "layers": "" if settings[0].layers is None else f"{layers} layers",
        "devices": f"{devices} device{'' if devices == '1' else 's'}",
        "limit": f"memory limit {limit / 2**30:.4g} GiB" if limit else "no memory limit set",
    }
    models = [json.loads(setting.model) for setting in settings]
    found |= {key: f"{key} {_values(model.get(key) for model in models)}" for key in models[0]}
    return {key: text for key, text in found.items() if text}


def _values(found: Iterable[Any]) -> str:
    return " | ".join(dict.fromkeys(map(str, found)))


def _facts(part: list[Measured]) -> str:
    """Machine, batch, type, limit, sizes and versions."""
    machines = "; ".join(sorted({row.setting.machine for row in part}))
    versions = "; ".join(sorted({row.versions for row in part if row.versions}))
    how = f"{machines}: {', '.join(_details(part).values())}."
    return f"{how} {versions}." if versions else how
