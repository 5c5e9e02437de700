"""Measuring cells, round after round: what is there is skipped, what fails is a result."""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lra_bench.display.progress import Display
from lra_bench.display.units import size_text, time_text
from lra_bench.efficiency import records, supervise
from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell
from lra_bench.efficiency.records import Line
from lra_bench.efficiency.search import largest
from lra_bench.files import append_line

# A length that can't be done for these reasons can't be done longer.
_ENDS = ("out_of_memory", "timed_out")
# These may go better another time.
_FAILURES = ("crashed", "failed")


@dataclass(frozen=True)
class Effort:
    """What a cell is given.

    Attributes:
        budget: seconds of timing, of all rounds together.
        rounds: how often it is visited, with all others in between: a machine that others share
            is slower at times, so each cell is to meet it at several.
        time_limit: seconds until its process, of one visit, is ended.
        xla_flags: of its process.
    """

    budget: float
    rounds: int
    time_limit: float
    xla_flags: str


class _Ended(Exception):
    """A search that is no longer about memory."""


class Measuring:
    """Measures cells, each time in a process of its own, and appends a line each time to a file.

    Attributes:
        failed: the cells that crashed or failed.
    """

    def __init__(self, path: Path, machine: str, effort: Effort, display: Display) -> None:
        self.path, self.machine, self.effort, self.display = path, machine, effort, display
        self.failed: set[tuple[str, int]] = set()
        self._lines: dict[str, dict[int, list[Line]]] = {}
        for line in records.read(path) if path.exists() else []:
            if line["machine"] == machine:
                self._keep(Cell(**line["cell"]), line)

    def run(self, cells: list[Cell], *, find_largest: bool = False) -> None:
        """Measure what isn't there; then find the largest lengths that fit, if wanted."""
        rounds = self.effort.rounds
        there = sum(self._is_done(cell, rounds) for cell in cells)
        if there:
            self.display.line(f"{there} of {len(cells)} cells are there already")
        with tempfile.TemporaryDirectory(prefix="lra-bench-") as programs:
            for number in range(1, rounds + 1):
                self._round(number, cells, Path(programs))
        for cell in _one_a_group(cells) if find_largest else ():
            self._find_largest(cell)

    def _round(self, number: int, cells: list[Cell], programs: Path) -> None:
        todo = [cell for cell in cells if not self._is_done(cell, number)]
        if todo and self.effort.rounds > 1:
            self.display.line(f"round {number} of {self.effort.rounds}")
        with self.display.bar("cells", len(todo)) as bar:
            for done, cell in enumerate(todo):
                bar(done, f"{cell.attention}, L = {cell.length:,}")
                self._do(cell, number, programs)

    def lines(self, cells: Iterable[Cell]) -> list[Line]:
        """What is known of these cells' groups, at any length."""
        groups = dict.fromkeys(map(_group, cells))
        found = (self._lines.get(key, {}).values() for key in groups)
        return [line for lengths in found for lines in lengths for line in lines]

    def _is_done(self, cell: Cell, number: int) -> bool:
        """Whether it needs no visit in a round, be it for good or, having failed, for now."""
        lines = self._lines.get(_group(cell), {}).get(cell.length, [])
        last = lines[-1]["status"] if lines else None
        if last in _ENDS or _key(cell) in self.failed:
            return True
        if cell.target != HERE:
            return last == "ok"
        timed = records.visits(lines)
        # Nothing can be added to what was timed before there were samples.
        return len(timed) >= number or any("samples" not in line["timing"] for line in timed)

    def _do(self, cell: Cell, number: int, programs: Path) -> None:
        shorter = self._shortest_end(cell) if number == 1 else None
        if shorter is None:
            self._measure(cell, number, programs)
            return
        line = records.blank(cell, self.machine)
        origin = shorter["inferred_from"] or shorter["cell"]["length"]
        error = f"not run: so it was at {origin:,}"
        line.update(status=shorter["status"], error=error, inferred_from=origin)
        self._write(cell, line)

    def _shortest_end(self, cell: Cell) -> Line | None:
        """The shortest length of the same that ran out of memory or time, if below this one."""
        found = self._known(cell)
        ends = [n for n, line in found.items() if line["status"] in _ENDS and n < cell.length]
        return found[min(ends)] if ends else None

    def _measure(self, cell: Cell, number: int, programs: Path) -> None:
        """One visit of a cell, which finds what was compiled in the visit before."""
        effort, kept = self.effort, programs / hashlib.sha256(repr(cell).encode()).hexdigest()
        found = supervise.measure(
            cell, effort.budget / effort.rounds, effort.time_limit, effort.xla_flags, kept
        )
        if number > 1:
            found["compile_seconds"] = None  # it was read, not compiled
        self._write(cell, {**records.blank(cell, self.machine), **found, "round": number})

    def tried(self, cell: Cell) -> Line:
        """What is known of a cell; if nothing is, it is called once, untimed, to see if it fits."""
        known = self._known(cell).get(cell.length)
        if known is not None and known["status"] not in _FAILURES:
            return known
        found = supervise.measure(cell, None, self.effort.time_limit, self.effort.xla_flags)
        line = {**records.blank(cell, self.machine), **found}
        self._write(cell, line)
        return line

    def _write(self, cell: Cell, line: Line) -> None:
        line["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(self.path, line)
        self._keep(cell, line)
        if line["status"] in _FAILURES:
            self.failed.add(_key(cell))
        self.display.line(_describe(cell, line))

    def _keep(self, cell: Cell, line: Line) -> None:
        self._lines.setdefault(_group(cell), {}).setdefault(cell.length, []).append(line)

    def _known(self, cell: Cell) -> dict[int, Line]:
        """Of each length of the same the last line that was timed, else the last."""
        found = self._lines.get(_group(cell), {})
        return {length: (records.visits(x) or x)[-1] for length, x in found.items()}

    def _find_largest(self, cell: Cell) -> None:
        found = self._known(cell)
        good = max((n for n, line in found.items() if line["status"] == "ok"), default=0)
        bad = min((n for n, x in found.items() if x["status"] in _ENDS and n > good), default=0)

        def fits(length: int) -> bool:
            status = self.tried(dataclasses.replace(cell, length=length))["status"]
            if status not in ("ok", "out_of_memory"):
                raise _Ended
            return status == "ok"

        try:
            largest(fits, cell.length, good, bad)
        except _Ended:
            self.display.line(f"{cell.attention}: the search for the largest length ends here")


def _group(cell: Cell) -> str:
    """What cells have in common that differ in length alone."""
    return json.dumps({**cell.as_dict(), "length": None}, sort_keys=True)


def _key(cell: Cell) -> tuple[str, int]:
    return _group(cell), cell.length


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
