"""Measure cells, round after round: finished cells are skipped, and a failure is a result."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lra_bench.display.progress import Display
from lra_bench.display.units import size_text, time_text
from lra_bench.efficiency import records, supervise, targets
from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell
from lra_bench.efficiency.measurement import Clock, Measurement
from lra_bench.efficiency.search import largest
from lra_bench.files.json_lines import append_line
from lra_bench.files.private import private_folder
from lra_bench.runtime.environment import Environment

# These may go better another time.
_FAILURES = ("crashed", "failed")
# The folder, beside the file of measurements, of programs that later rounds use again.
_PROGRAMS = ".programs"
# What a narrow terminal leaves out of the line of a cell, the first of these first: scope and size,
# which most lines share, then the compiler's estimate, then whether it is forward or backward.
_SHED = (0, 5, 1)


@dataclass(frozen=True)
class Effort:
    """The time and the flags that a cell is given.

    Attributes:
        budget: seconds of timing, of all rounds together.
        rounds: how often each cell is visited, with all others in between: a machine that others
            share is slower at times, so each cell is timed at several times.
        time_limit: seconds until the process of one visit is ended.
        xla_flags: of that process.
    """

    budget: float
    rounds: int
    time_limit: float
    xla_flags: str


class _Ended(Exception):
    """The search for the largest length ended for another reason than memory."""


class Measuring:
    """Measures cells, each in a process of its own, and appends a line to a file for each visit.

    Attributes:
        path: the file.
        machine: names the devices; the file's lines of other machines are ignored.
        effort: what each cell is given.
        display: shows each outcome.
        failed: the cells that crashed or failed: their kind, and the length in tokens.
    """

    def __init__(self, path: Path, machine: str, effort: Effort, display: Display) -> None:
        self.path, self.machine, self.effort, self.display = path, machine, effort, display
        self.failed: set[tuple[str, int]] = set()
        self._lines: dict[str, dict[int, list[Measurement]]] = {}
        for line in records.read(path) if path.exists() else []:
            if line.machine == machine:
                self._keep(line)

    def run(self, cells: list[Cell], *, find_largest: bool = False) -> None:
        """Measure the cells that are not done; then, if asked to, find the largest lengths."""
        rounds = self.rounds(cells)
        done = sum(self._is_done(cell, rounds) for cell in cells)
        if done:
            self.display.line(f"{done} of {len(cells)} cells are done already")
        with self._programs() as programs:
            for number in range(1, rounds + 1):
                self._round(number, rounds, cells, programs)
        for cell in _one_of_each_kind(cells) if find_largest else ():
            self._find_largest(cell)

    @contextlib.contextmanager
    def _programs(self) -> Iterator[Path]:
        """Make the folder of compiled programs beside the file; one that a kill left is removed."""
        folder = self.path.parent / _PROGRAMS
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield private_folder(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _round(self, number: int, rounds: int, cells: list[Cell], programs: Path) -> None:
        """Visit each cell once."""
        todo = [cell for cell in cells if not self._is_done(cell, number)]
        if todo and rounds > 1:
            self.display.line(f"round {number} of {rounds}")
        with self.display.bar("cells", len(todo)) as bar:
            for done, cell in enumerate(todo):
                bar(done, f"{cell.attention}, L = {cell.length:,}")
                self._visit(cell, number, programs)

    def lines(self, cells: Iterable[Cell]) -> list[Measurement]:
        """Return the measurements of these cells, and of others that differ in length alone."""
        kinds = dict.fromkeys(map(_kind, cells))
        by_length = (self._lines.get(kind, {}).values() for kind in kinds)
        return [line for lengths in by_length for lines in lengths for line in lines]

    def rounds(self, cells: Iterable[Cell]) -> int:
        """Return how often cells are visited: once where they are only compiled."""
        return self.effort.rounds if any(cell.target == HERE for cell in cells) else 1

    def visits_left(self, cell: Cell, rounds: int) -> int:
        """Return how many visits a cell still needs in so many rounds."""
        return sum(not self._is_done(cell, number) for number in range(1, rounds + 1))

    def compile_seconds(self) -> list[float]:
        """Return the seconds that each known compilation took."""
        known = (line for kind in self._lines.values() for lines in kind.values() for line in lines)
        return [line.compile_seconds for line in known if line.compile_seconds]

    def _is_done(self, cell: Cell, number: int) -> bool:
        """Return whether a cell needs no visit in a round, for good or because it failed before."""
        lines = self._lines.get(_kind(cell), {}).get(cell.length, [])
        if _key(cell) in self.failed or (lines and self._is_end(lines[-1])):
            return True
        if cell.target != HERE:
            return bool(lines) and lines[-1].status == "ok"
        timed = records.visits(lines)
        # Nothing can be added to old lines, which have no samples.
        return len(timed) >= number or any(x.timing and not x.timing.samples for x in timed)

    def _is_end(self, line: Measurement) -> bool:
        """Return whether a cell cannot be done, nor a longer one, in the time that cells have."""
        if line.status == "timed_out":
            return (line.time_limit or 0) >= self.effort.time_limit
        return line.status == "out_of_memory"

    def _visit(self, cell: Cell, number: int, programs: Path) -> None:
        """Measure a cell, or conclude in the first round that it cannot run."""
        shorter = self._shortest_end(cell) if number == 1 else None
        if shorter is None:
            self._measure(cell, number, programs)
            return
        origin = shorter.inferred_from or shorter.cell.length
        concluded = Measurement(
            cell,
            self.machine,
            status=shorter.status,
            error=f"not run, since {origin:,} tokens ended the same way",
            inferred_from=origin,
            time_limit=shorter.time_limit,
        )
        self._write(concluded)

    def _shortest_end(self, cell: Cell) -> Measurement | None:
        """Return the shortest length below the cell's that ran out of memory or time, if any."""
        lines = self._known(cell)
        ends = [n for n, line in lines.items() if self._is_end(line) and n < cell.length]
        return lines[min(ends)] if ends else None

    def _measure(self, cell: Cell, number: int, programs: Path) -> None:
        """Visit a cell; its process reads the program that the visit before compiled."""
        effort, folder = self.effort, programs / hashlib.sha256(repr(cell).encode()).hexdigest()
        line = supervise.measure(
            cell, effort.budget / effort.rounds, effort.time_limit, effort.xla_flags, folder
        )
        seconds = line.compile_seconds if number == 1 else None  # else it was read, not compiled
        self._write(dataclasses.replace(line, round=number, compile_seconds=seconds))

    def tried(self, cell: Cell) -> Measurement:
        """Return the measurement of a cell; if there is none, call it once to see if it fits."""
        known = self._known(cell).get(cell.length)
        if known is not None and (known.status == "ok" or self._is_end(known)):
            return known
        effort = self.effort
        return self._write(supervise.measure(cell, None, effort.time_limit, effort.xla_flags))

    def _write(self, measurement: Measurement) -> Measurement:
        """Append a measurement to the file, with this machine and the time, and show it."""
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        line = dataclasses.replace(measurement, machine=self.machine, finished=finished)
        append_line(self.path, line.as_dict())
        self._keep(line)
        if line.status in _FAILURES:
            self.failed.add(_key(line.cell))
        show(line, self.display)
        return line

    def _keep(self, line: Measurement) -> None:
        lengths = self._lines.setdefault(_kind(line.cell), {})
        lengths.setdefault(line.cell.length, []).append(line)

    def _known(self, cell: Cell) -> dict[int, Measurement]:
        """Return for each length of such cells the last timed measurement, else the last."""
        lengths = self._lines.get(_kind(cell), {})
        return {length: (records.visits(x) or x)[-1] for length, x in lengths.items()}

    def _find_largest(self, cell: Cell) -> None:
        """Search for the largest length that fits, starting from what is known."""
        lines = self._known(cell)
        good = max((n for n, line in lines.items() if line.status == "ok"), default=0)
        bad = min((n for n, x in lines.items() if self._is_end(x) and n > good), default=0)

        def fits(length: int) -> bool:
            status = self.tried(dataclasses.replace(cell, length=length)).status
            if status not in ("ok", "out_of_memory"):
                raise _Ended
            return status == "ok"

        try:
            largest(fits, cell.length, good, bad)
        except _Ended:
            self.display.line(f"{cell.attention}: the search for the largest length ends here")


def _kind(cell: Cell) -> str:
    """Return all that a cell shares with those that differ from it in length alone."""
    return json.dumps({**cell.as_dict(), "length": None}, sort_keys=True)


def _key(cell: Cell) -> tuple[str, int]:
    return _kind(cell), cell.length


def _one_of_each_kind(cells: Iterable[Cell]) -> list[Cell]:
    return list({_kind(cell): cell for cell in cells}.values())


def machine(target: str, environment: Environment) -> str:
    """Return the name of the devices here, or of those compiled for.

    Lines of one machine may stand in one table.
    """
    if target not in (HERE, ESTIMATE):
        return f"{targets.label(target)}, compiled for and not run"
    if target == ESTIMATE:
        return f"estimate by the compiler for {environment.processor}, not run"
    usable = environment.usable_cores if environment.platform == "cpu" else None
    cores = usable or environment.host_cpu_count
    return f"{environment.devices}, {cores} CPU cores, host {environment.host}"


def show(line: Measurement, display: Display) -> None:
    """Print the outcome of a cell in a line that fits the terminal."""
    display.parts(_describe(line), shed=_SHED)
    display.detail(_details(line))


def _describe(line: Measurement) -> list[str]:
    """Return the parts of a line for the screen: the cell and its outcome."""
    cell = line.cell
    variety = [
        f"layers {cell.layers}" if cell.layers else "",
        f"{cell.direction:<8}" if cell.direction != "step" else "",
        f"batch {cell.batch}" if cell.batch != 1 else "",
        cell.dtype if cell.dtype != "float32" else "",
    ]
    return [
        f"{cell.scope} {cell.size}",
        ", ".join(filter(None, variety)),
        f"L = {cell.length:<7,} {cell.attention:<20}",
        *_outcome(line),
    ]


def _details(line: Measurement) -> str:
    """Return what --verbose adds: how a cell was measured."""
    timing, memory = line.timing, line.memory
    parts = [
        "" if line.compile_seconds is None else f"compiled in {line.compile_seconds:.1f} s",
        f"{timing.repeats} x {timing.calls_per_repeat} calls" if timing else "",
        f"{size_text(memory.predicted_bytes)} by the plan"
        if memory and memory.predicted_bytes
        else "",
        f"{line.flops:.3g} FLOP" if line.flops else "",
    ]
    return f"    {', '.join(filter(None, parts)) or 'not run'}"


def _outcome(line: Measurement) -> list[str]:
    if line.bytes_asked:
        return [f"out of memory: asks for {size_text(line.bytes_asked)}"]
    if line.status != "ok":
        return [f"{line.status.replace('_', ' ')}: {line.error}"]
    peak = line.memory.peak_bytes if line.memory else None
    size = "" if peak is None else f"{size_text(peak):>8}"
    if line.timing is None:
        return ["fits", size, _estimated(line)]
    on_cpu = line.environment is not None and line.environment.platform == "cpu"
    clock: Clock = "cpu" if on_cpu else "wall"
    time = time_text(line.timing.spread(clock).median)
    return [f"{time:>8} {'CPU' if on_cpu else 'wall'} time", size]


def _estimated(line: Measurement) -> str:
    """Return the time by the compiler's estimate, in words; "" if there is none to be had."""
    if line.estimate is None:
        return ""
    if line.estimate.seconds is None:
        return "no estimate of the time"
    return f"estimate {time_text(line.estimate.seconds):>8}"
