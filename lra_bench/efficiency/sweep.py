"""Measuring cell after cell: what is there is skipped, what fails is a result."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lra_bench.efficiency import records, supervise
from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell
from lra_bench.efficiency.records import Line
from lra_bench.efficiency.search import largest
from lra_bench.efficiency.units import size_text, time_text
from lra_bench.progress import Display

# A length that can't be done for these reasons can't be done longer.
_ENDS = ("out_of_memory", "timed_out")


@dataclass(frozen=True)
class Effort:
    """What a cell is given.

    Attributes:
        budget: seconds of timing; None for none, one call to see whether it fits.
        time_limit: seconds until its process is ended.
        xla_flags: of its process.
    """

    budget: float
    time_limit: float
    xla_flags: str


class _Ended(Exception):
    """A search that is no longer about memory."""


class Sweep:
    """Measures cells, each in a process of its own, and appends a line for each to a file."""

    def __init__(self, path: Path, machine: str, effort: Effort, display: Display) -> None:
        self.path, self.machine, self.effort, self.display = path, machine, effort, display
        self.failures = 0
        self._lines: dict[str, dict[int, Line]] = {}
        for line in records.read(path) if path.exists() else []:
            if line["machine"] == machine:
                self._keep(Cell(**line["cell"]), line)

    def run(self, cells: list[Cell], *, find_largest: bool) -> None:
        """Measure what isn't there; then find the largest lengths that fit, if wanted."""
        todo = [cell for cell in cells if not self._is_done(cell)]
        if len(todo) < len(cells):
            self.display.line(f"{len(cells) - len(todo)} of {len(cells)} cells are there already")
        with self.display.bar("cells", len(todo)) as bar:
            for number, cell in enumerate(todo):
                bar(number, f"{cell.attention}, L = {cell.length:,}")
                self._do(cell)
        for cell in _one_a_group(cells) if find_largest else ():
            self._find_largest(cell)

    def lines(self, cells: Iterable[Cell]) -> list[Line]:
        """What is known of these cells' groups, at any length."""
        groups = dict.fromkeys(map(_group, cells))
        return [line for key in groups for line in self._lines.get(key, {}).values()]

    def _is_done(self, cell: Cell) -> bool:
        line = self._known(cell)
        if line is None or line["status"] in ("crashed", "failed"):
            return False
        return line["status"] in _ENDS or line["timing"] is not None or cell.target != HERE

    def _do(self, cell: Cell) -> None:
        shorter = self._shortest_end(cell)
        if shorter is None:
            self._measure(cell, self.effort.budget)
            return
        line = records.blank(cell, self.machine)
        origin = shorter["inferred_from"] or shorter["cell"]["length"]
        error = f"not run: so it was at {origin:,}"
        line.update(status=shorter["status"], error=error, inferred_from=origin)
        self._write(cell, line)

    def _shortest_end(self, cell: Cell) -> Line | None:
        """The shortest length of the same that ran out of memory or time, if below this one."""
        found = self._lines.get(_group(cell), {})
        ends = [n for n, line in found.items() if line["status"] in _ENDS and n < cell.length]
        return found[min(ends)] if ends else None

    def _measure(self, cell: Cell, budget: float | None) -> Line:
        effort, line = self.effort, records.blank(cell, self.machine)
        line.update(supervise.measure(cell, budget, effort.time_limit, effort.xla_flags))
        self._write(cell, line)
        return line

    def _write(self, cell: Cell, line: Line) -> None:
        line["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        records.append(self.path, line)
        self._keep(cell, line)
        self.failures += line["status"] in ("crashed", "failed")
        self.display.line(_describe(cell, line))

    def _keep(self, cell: Cell, line: Line) -> None:
        group = self._lines.setdefault(_group(cell), {})
        known = group.get(cell.length)
        if known is None or line["timing"] is not None or known["timing"] is None:
            group[cell.length] = line

    def _known(self, cell: Cell) -> Line | None:
        return self._lines.get(_group(cell), {}).get(cell.length)

    def _find_largest(self, cell: Cell) -> None:
        found = self._lines.get(_group(cell), {})
        good = max((n for n, line in found.items() if line["status"] == "ok"), default=0)
        bad = min((n for n, x in found.items() if x["status"] in _ENDS and n > good), default=0)

        def fits(length: int) -> bool:
            here = dataclasses.replace(cell, length=length)
            line = self._known(here) or self._measure(here, None)
            if line["status"] not in ("ok", "out_of_memory"):
                raise _Ended
            return line["status"] == "ok"

        try:
            largest(fits, cell.length, good, bad)
        except _Ended:
            self.display.line(f"{cell.attention}: the search for the largest length ends here")


def _group(cell: Cell) -> str:
    """What cells have in common that differ in length alone."""
    return json.dumps({**cell.as_dict(), "length": None}, sort_keys=True)


def _one_a_group(cells: Iterable[Cell]) -> list[Cell]:
    return list({_group(cell): cell for cell in cells}.values())


def machine(target: str, environment: dict[str, Any]) -> str:
    """What may stand in one table: the devices here, or what is compiled for."""
    if target not in (HERE, ESTIMATE):
        return f"{target}, compiled for and not run"
    kind = environment["device_kind"]
    kind = environment["host_cpu"] if kind == "cpu" else kind
    if target == ESTIMATE:
        return f"estimate by the compiler for {kind}, not run"
    cores, host = environment["host_cpu_count"], environment["host"]
    return f"{environment['device_count']} x {kind}, {cores} CPU cores, host {host}"


def _describe(cell: Cell, line: Line) -> str:
    what = f"{cell.scope} {cell.size}" + (f", layers {cell.layers}" if cell.layers else "")
    what += f", {cell.direction}" if cell.direction != "step" else ""
    what += "" if cell.batch == 1 else f", batch {cell.batch}"
    what += "" if cell.dtype == "float32" else f", {cell.dtype}"
    return f"{what}  L = {cell.length:<7,} {cell.attention:<20} {_outcome(line)}".rstrip()


def _outcome(line: Line) -> str:
    memory, timing = line["memory"] or {}, line["timing"]
    if line["bytes_asked"]:
        return f"out of memory: asks for {size_text(line['bytes_asked'])}"
    if line["status"] != "ok":
        return f"{line['status'].replace('_', ' ')}: {line['error']}"
    found = memory.get("measured_bytes") or memory["predicted_bytes"]
    if timing is None:
        return f"{'fits:':>19} {size_text(found):>10}"
    clock = "cpu" if line["environment"]["platform"] == "cpu" else "wall"
    return f"{time_text(timing[clock]['median']):>10} {clock.upper()} time {size_text(found):>10}"
