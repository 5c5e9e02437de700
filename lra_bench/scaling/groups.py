"""Group the cells that may stand in one table, and say how they were measured."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from lra_bench.efficiency.cells import HERE
from lra_bench.efficiency.measurement import Clock
from lra_bench.registry import IDENTITY
from lra_bench.scaling.fits import Crossover, Fit, crossover, fit_exponent
from lra_bench.scaling.rows import Measured, Setting, Spread

_SCOPES = {"attention": "attention alone", "model": "whole model", "train": "training step"}
PASSES = {"forward": "forward", "backward": "forward and backward", "step": ""}


@dataclass(frozen=True)
class Heading:
    """The parts of a title, such as ("machine", "1 x H100"); its text joins them by commas.

    Attributes:
        parts: pairs of the setting that a part describes, and its text.
    """

    parts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return ", ".join(text for _, text in self.parts if text)

    def without(self, *settings: str) -> "Heading":
        """Return the heading without the parts that describe these settings."""
        return Heading(tuple(part for part in self.parts if part[0] not in settings))


@dataclass(frozen=True)
class Comparable:
    """Cells that may stand in one table.

    Attributes:
        heading: names the scope, the pass, the size and the machine, and what tells this group
            from others.
        facts: how the cells were measured, as sentences.
        rows: the cells.
        by: what a column is: a "length", or a "size" where each task has its own length.
    """

    heading: Heading
    facts: str
    rows: tuple[Measured, ...]
    by: Literal["length", "size"]

    @property
    def title(self) -> str:
        """Return the heading as text."""
        return str(self.heading)

    @property
    def family(self) -> str:
        """Return the title without the pass, for figures that show both passes."""
        return str(self.heading.without("pass"))

    @property
    def first(self) -> Setting:
        """Return the setting of one of the rows, for what all rows share."""
        return self.rows[0].setting

    @property
    def runs(self) -> bool:
        """Return whether the cells were run, not only compiled."""
        return self.first.target == HERE

    @property
    def clock(self) -> Clock:
        """Return the clock of the main figures: CPU time on CPUs, wall time elsewhere."""
        platforms = {row.platform for row in self.rows if row.wall}
        return "cpu" if platforms == {"cpu"} else "wall"

    def spread(self, row: Measured) -> Spread | None:
        """Return the spread by the main clock, in seconds."""
        return row.cpu if self.clock == "cpu" else row.wall

    def seconds(self, row: Measured) -> float | None:
        """Return the median by the main clock, in seconds."""
        spread = self.spread(row)
        return None if spread is None else spread.median

    def of(self, label: str) -> list[Measured]:
        """Return the rows of one attention, the shortest length first."""
        return sorted((r for r in self.rows if r.label == label), key=lambda row: row.length)

    def shown(self, label: str, optimum: str = f"{IDENTITY} (OPT)") -> str:
        """Return the name that a reader sees for a label; see `Measured.shown`."""
        return self.of(label)[0].shown(optimum)

    def labels(self) -> list[str]:
        """Return the attentions, exact ones first, identity last.

        Between them the fastest at the longest length comes first.
        """
        return sorted({row.label for row in self.rows}, key=self._rank)

    def _rank(self, label: str) -> tuple[Any, ...]:
        rows = self.of(label)
        kind = 2 if rows[0].attention == IDENTITY else 0 if rows[0].exact else 1
        costs = [(row.length, self.seconds(row) or math.inf, row.memory) for row in rows if row.ran]
        length, seconds, memory = costs[-1] if costs else (0, math.inf, None)
        return kind, -length, seconds, memory or math.inf, label

    def exponent_of_time(self, label: str) -> Fit | None:
        """Return how the median by the main clock grows with the length."""
        times = {row.length: self.seconds(row) for row in self.of(label)}
        known = {length: value for length, value in times.items() if value is not None}
        return fit_exponent(list(known), list(known.values()))

    def exponent_of_memory(self, label: str) -> tuple[Fit | None, bool]:
        """Return how peak memory grows with the length, and whether that is of measured memory."""
        ran = [row for row in self.of(label) if row.ran]
        measured = {row.length: row.measured_bytes for row in ran if row.measured_bytes}
        fit = fit_exponent(list(measured), list(measured.values()))
        if fit is not None:
            return fit, True
        planned = {row.length: row.predicted_bytes for row in ran if row.predicted_bytes}
        return fit_exponent(list(planned), list(planned.values())), False

    def crossover(self, label: str, other: str) -> Crossover | None:
        """Return from which length on an attention is faster than another.

        Only lengths at which both ran count.
        """
        first, second = (
            {row.length: seconds for row in self.of(name) if (seconds := self.seconds(row))}
            for name in (label, other)
        )
        lengths = [length for length in first if length in second]
        return crossover(lengths, [first[x] for x in lengths], [second[x] for x in lengths])


def groups(rows: Iterable[Measured], *, mix_machines: bool = False) -> list[Comparable]:
    """Return the groups of rows that may stand in one table each.

    Several tasks that have one length each are one group, with a column for each task.

    Args:
        rows: of any settings.
        mix_machines: whether machines may share a group; labels then name the machine.
    """
    alike: dict[Setting, list[Measured]] = defaultdict(list)
    for row in rows:
        key = replace(row.setting, machine="") if mix_machines else row.setting
        alike[key].append(replace(row, names_machine=mix_machines))
    parts = sorted(_merge_tasks(alike), key=lambda part: _order(part[0]))
    names = without_hosts(row.setting.machine for part in parts for row in part)
    families: dict[Heading, list[list[Measured]]] = defaultdict(list)
    for part in parts:
        families[_heading(part, names).without("pass")].append(part)
    return [_group(part, families[_heading(part, names).without("pass")], names) for part in parts]


def without_hosts(machines: Iterable[str]) -> dict[str, str]:
    """Return a name for each machine: without its host, unless only the host tells two apart."""
    short = {machine: re.sub(r", host \S+$", "", machine) for machine in dict.fromkeys(machines)}
    counts = Counter(short.values())
    return {machine: name if counts[name] == 1 else machine for machine, name in short.items()}


def column_order(row: Measured) -> tuple[int, str]:
    """Sort by length, then by task."""
    return row.length, row.setting.size


def _merge_tasks(alike: dict[Setting, list[Measured]]) -> list[list[Measured]]:
    """Join the rows of tasks with one length each, unless a task has several settings."""
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
    where = (setting.target != HERE, setting.target, setting.machine)
    scope, direction = (
        list(known).index(value) if value in known else len(known)
        for known, value in ((_SCOPES, setting.scope), (PASSES, setting.direction))
    )
    sizes = (setting.size, str(setting.preset), setting.layers or 0, setting.batch or 0)
    rest = (str(setting.devices), str(setting.memory_limit), str(setting.dtype), setting.model)
    return *where, scope, *sizes, direction, *rest


def _heading(part: list[Measured], names: Mapping[str, str]) -> Heading:
    """Return scope, pass, size and machine: what the titles of several groups can share."""
    first, sizes = part[0].setting, {row.setting.size for row in part}
    size = first.size if len(sizes) == 1 else "each task at its own length"
    preset = "" if first.preset is None else f" (preset {first.preset})"
    machines = {row.setting.machine for row in part}
    parts = {
        "scope": _SCOPES.get(first.scope, first.scope),
        "pass": PASSES.get(first.direction, first.direction),
        "size": size + preset,
        "machine": names[first.machine] if len(machines) == 1 else f"{len(machines)} machines",
    }
    return Heading(tuple(parts.items()))


def _group(
    part: list[Measured], family: list[list[Measured]], names: Mapping[str, str]
) -> Comparable:
    """Return a group; its heading names all that tells it from the others of its family."""
    details, others = _details(part), [_details(other) for other in family]
    tail = [
        (setting, text)
        for setting, text in details.items()
        if any(other.get(setting) != text for other in others)
    ]
    several = len({row.setting.size for row in part}) > 1
    return Comparable(
        heading=Heading((*_heading(part, names).parts, *tail)),
        facts=_facts(part, names),
        rows=tuple(part),
        by="size" if several else "length",
    )


def _details(part: list[Measured]) -> dict[str, str]:
    """Return how a group was measured, in words, by setting.

    Several tasks' values stand in the order of the columns.
    """
    settings = list(dict.fromkeys(row.setting for row in sorted(part, key=column_order)))
    limit, devices = settings[0].memory_limit, _values(s.devices for s in settings)
    texts = {
        "batch": f"batch {_values(s.batch for s in settings)}",
        "dtype": _values(s.dtype for s in settings),
        "layers": _layers(settings),
        "devices": f"{devices} device{'' if devices == '1' else 's'}",
        "limit": f"memory limit {limit / 2**30:.4g} GiB" if limit else "no memory limit set",
    }
    models = [json.loads(setting.model) for setting in settings]
    texts |= {key: f"{key} {_values(model.get(key) for model in models)}" for key in models[0]}
    return {key: text for key, text in texts.items() if text}


def _layers(settings: list[Setting]) -> str:
    """Return the layers in words; "" for the attention alone."""
    if settings[0].layers is None:
        return ""
    layers = _values(setting.layers for setting in settings)
    return f"{layers} layer{'' if layers == '1' else 's'}"


def _values(values: Iterable[Any]) -> str:
    return " | ".join(dict.fromkeys(map(str, values)))


def _facts(part: list[Measured], names: Mapping[str, str]) -> str:
    """Return machine, batch, type, limit, sizes and versions, as sentences."""
    machines = "; ".join(sorted({names[row.setting.machine] for row in part}))
    versions = "; ".join(sorted({row.versions for row in part if row.versions}))
    how = f"{machines}: {', '.join(_details(part).values())}."
    return f"{how} {versions}." if versions else how
