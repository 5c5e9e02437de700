"""Whether what `lra-bench efficiency` says can be relied on: times, verdicts, cost of timing.

    python benchmarks/efficiency.py SECTION ... [--rounds N] [--out DIR]

Sections: repeatability, verdicts, overhead; all, if none is named. The first two are sweeps: their
records are in DIR, and the same command goes on with what is missing. Overhead asks what timing
costs within a process. The attention alone, batch 1, 8 heads of 64, float32.
"""

import contextlib
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _sections import command_line, run_sections, show

from lra_bench.display.progress import Display
from lra_bench.display.units import size_text
from lra_bench.efficiency import records, supervise, timing
from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell, Pass
from lra_bench.efficiency.measure import Effort, Measuring, machine
from lra_bench.efficiency.plan import Choice, cells
from lra_bench.efficiency.search import STEP
from lra_bench.scaling import rows

# As a sweep has them without further choices.
BUDGET, ROUNDS, TIME_LIMIT = 10.0, 3, 900.0


def make_cell(attention: str, direction: Pass, length: int, **fields: Any) -> Cell:
    """An attention alone, as a sweep without further choices has it."""
    choice = Choice(attentions=(attention,), passes=(direction,), lengths=(length,), **fields)
    return cells(choice)[0]  # identity, which is always added, comes last


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


SHORTEST = 0.05  # CPU seconds from which a pair counts
Kinds = tuple[tuple[Pass, int], ...]
_QUADRATIC: Kinds = (("forward", 1_024), ("forward", 2_048), ("backward", 1_024))
_LINEAR: Kinds = (("forward", 4_096), ("forward", 16_384), ("backward", 8_192))
# Of each attention three cells, meant to take between 50 ms and 1.5 s of CPU time on two cores.
TIMED: dict[str, Kinds] = {
    "softmax": _QUADRATIC,
    "softmax-fused": _QUADRATIC,
    "softmax-chunked": _QUADRATIC,
    "performer-softmax": _LINEAR,
    "performer-relu": _LINEAR,
    "performer-generalized": _LINEAR,
    "linformer": _LINEAR,
    "reformer": (("forward", 4_096), ("forward", 16_384), ("backward", 4_096)),
    "linear": (("forward", 16_384), ("backward", 8_192), ("backward", 16_384)),
    "identity": (("backward", 65_536), ("backward", 131_072), ("forward", 262_144)),
}


def repeatability(sweep: Measuring) -> None:
    """By how much two copies of a cell differ in one sweep, all others between them."""
    todo = [make_cell(name, *kind) for name, kinds in TIMED.items() for kind in kinds]
    copies = [[_copy(cell, number) for cell in todo] for number in (0, 1)]
    sweep.run([cell for copy in copies for cell in copy])
    rows = [_pair(*(_row(sweep, cell) for cell in pair)) for pair in zip(*copies, strict=True)]
    counted = [row for row in rows if row["CPU s"] >= SHORTEST and row["again"] >= SHORTEST]
    print(f"{len(counted)} of {len(rows)} pairs are over {SHORTEST * 1e3:.0f} ms of CPU time:\n")
    if counted:
        show([_distribution(clock, [row[clock] for row in counted]) for clock in ("cpu", "wall")])
    show([{**row, "cpu": _percent(row["cpu"]), "wall": _percent(row["wall"])} for row in rows])


def _copy(cell: Cell, number: int) -> Cell:
    """The same to measure, but not to a sweep: by the seed, which nothing here reads."""
    return dataclasses.replace(cell, config={**cell.config, "seed": number})


def _row(sweep: Measuring, cell: Cell) -> rows.Measured:
    return next(x for x in rows.from_lines(sweep.lines([cell])) if x.length == cell.length)


def _pair(*copies: rows.Measured) -> dict[str, Any]:
    """Not a number where a copy wasn't timed."""
    cpu, wall = (
        [spread.median if spread else math.nan for spread in spreads]
        for spreads in zip(*((row.cpu, row.wall) for row in copies), strict=True)
    )
    return {
        "attention": copies[0].attention,
        "pass": copies[0].setting.direction,
        "length": copies[0].length,
        "CPU s": cpu[0],
        "again": cpu[1],
        "cpu": max(cpu) / min(cpu) - 1,
        "wall s": wall[0],
        "again, wall": wall[1],
        "wall": max(wall) / min(wall) - 1,
    }


def _distribution(clock: str, apart: list[float]) -> dict[str, Any]:
    shares = {"median": 0.5, "75%": 0.75, "90%": 0.9, "max": 1.0}
    within = {f"within {most:.0%}": sum(one <= most for one in apart) for most in (0.05, 0.1)}
    return {
        "max / min - 1 of": f"{clock} time",
        "pairs": len(apart),
        **{name: _percent(float(np.quantile(apart, share))) for name, share in shares.items()},
        **within,
    }


LIMITED = ("softmax", "performer-relu", "reformer")
LIMITS = tuple(gib * 2**30 for gib in (4, 8, 12))
# So far from the limit the prediction has to tell what happens.
BELOW, ABOVE = 0.97, 1.03


def verdicts(sweep: Measuring) -> None:
    """Whether what is predicted to fit below a limit does, and what is predicted not to doesn't."""
    rows = []
    for name in LIMITED:
        predicted = Predictions(sweep, name)
        rows += [_verdict(sweep, predicted, limit) for limit in LIMITS]
    show(rows)
    right = sum(row["right"] == "both" for row in rows)
    print(f"both verdicts are right in {right} of {len(rows)} rows\n")


def _verdict(sweep: Measuring, predicted: "Predictions", limit: int) -> dict[str, Any]:
    lengths = predicted.around(BELOW * limit)[0], predicted.around(ABOVE * limit)[1]
    found = [_status(sweep, predicted.attention, length, limit) for length in lengths]
    right = [one == wanted for one, wanted in zip(found, ("ok", "out of memory"), strict=True)]
    shares = [_percent(predicted.at(length) / limit) for length in lengths]
    return {
        "attention": predicted.attention,
        "limit": size_text(limit),
        f"longest to {BELOW:.0%}": lengths[0],
        "predicted": shares[0],
        "verdict": found[0],
        f"shortest from {ABOVE:.0%}": lengths[1],
        "predicted, this": shares[1],
        "verdict, this": found[1],
        "right": {2: "both", 1: "one", 0: "none"}[sum(right)],
    }


def _status(sweep: Measuring, attention: str, length: int, limit: int) -> str:
    cell = make_cell(attention, "backward", length, memory_limit=limit)
    return sweep.tried(cell)["status"].replace("_", " ")


class Predictions:
    """Bytes by length that the compiler predicts of an attention's backward pass."""

    _STARTS = (1_024, 2_048)
    # Interpolation needs three or four; where memory grows in steps, halving is quicker.
    _MOST_GUESSES = 8

    def __init__(self, sweep: Measuring, attention: str) -> None:
        self.sweep, self.attention = sweep, attention
        self._known: dict[int, int] = {}

    def at(self, length: int) -> int:
        """The bytes at a length; compiled, if it is the first time."""
        if length not in self._known:
            cell = make_cell(self.attention, "backward", length, target=ESTIMATE)
            result = self.sweep.tried(cell)
            if result["status"] != "ok":
                sys.exit(f"{self.attention} {length:,}: {result['status']}: {result['error']}")
            self._known[length] = result["memory"]["predicted_bytes"]
        return self._known[length]

    def around(self, limit: float) -> tuple[int, int]:
        """Neighbouring multiples of 64, of which the first takes at most the limit, the next more.

        Few are compiled: the next is where a power law through those known meets the limit.
        """
        for length in self._STARTS:
            self.at(length)
        tries = 0
        while True:
            low, high = self._ends(limit)
            if high and high - low <= STEP:
                return low, high
            self.at(self._between(low, high, limit, guess=tries < self._MOST_GUESSES))
            tries += 1

    def _ends(self, limit: float) -> tuple[int, int]:
        """The longest known to take at most the limit and the next known beyond, or 0."""
        low = max((n for n in self._known if self._known[n] <= limit), default=0)
        return low, min((n for n in self._known if n > low), default=0)

    def _between(self, low: int, high: int, limit: float, *, guess: bool) -> int:
        """A multiple of 64 above `low`, and below `high` if there is one."""
        if not high:
            longest = max(self._known)
            # Neighbours could take the same.
            length = self._meets(max(n for n in self._known if 2 * n <= longest), longest, limit)
        elif low and guess:
            length = self._meets(low, high, limit)
        else:
            length = (low + high) / 2
        length = max(int(length) // STEP * STEP, low + STEP)
        return min(length, high - STEP) if high else length

    def _meets(self, one: int, other: int, limit: float) -> float:
        """Where y = a L^b through two lengths is the limit."""
        growth = math.log(self._known[other] / self._known[one]) / math.log(other / one)
        return one * (limit / self._known[one]) ** (1 / growth)


# Forward passes of about 1 ms, 20 ms and 200 ms on two cores.
CALLED = (("linear", 128), ("linear", 4_096), ("linear", 32_768))
TURNS, TURN_BUDGET = 10, 0.5


def overhead(_: Measuring) -> None:
    """What timing adds to bare calls in a loop, the two in turns; clocks must be below 1%."""
    rows = []
    for name, length in CALLED:
        cell = make_cell(name, "forward", length)
        call = _compiled(cell)
        rows.append(_costs(cell, [_turn(call) for _ in range(TURNS)]))
    show(rows)


def _compiled(cell: Cell) -> Callable[[], object]:
    """The call that a measuring process times."""
    import jax

    from lra_bench.efficiency import programs, targets

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    program, layout = programs.build(cell), programs.Layout(targets.devices(HERE, 1))
    compiled = layout.compile(program, layout.specs(program))
    state, inputs = layout.arrays(program, layout.compile_init(program))
    _bare(call := lambda: jax.block_until_ready(compiled(state, *inputs)), 3)
    return call


def _bare(call: Callable[[], object], calls: int) -> float:
    """Seconds of so many calls and nothing else."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - started


def _turn(call: Callable[[], object]) -> dict[str, Any]:
    """Seconds of timing with all that belongs to it, then of as many bare calls."""
    first, started = _bare(call, 1), time.perf_counter()
    found = timing.measure(call, first, TURN_BUDGET, "wall")
    measured = time.perf_counter() - started
    calls = found["repeats"] * found["calls_per_repeat"]
    bare, median = _bare(call, calls), found["wall"]["median"]
    clocks, samples = _clocks(), found["repeats"]
    return {"measured": measured, "bare": bare, "calls": calls, "samples": samples,
            "median": median, "clocks": clocks}  # fmt: skip


def _clocks(readings: int = 10_000) -> float:
    """Seconds that the clocks of one sample take: both are read before and after."""
    started = time.perf_counter()
    for _ in range(2 * readings):
        time.perf_counter()
        time.process_time()
    return (time.perf_counter() - started) / readings


def _costs(cell: Cell, turns: list[dict[str, Any]]) -> dict[str, Any]:
    total = {key: sum(one[key] for one in turns) for key in ("measured", "bare", "samples")}
    clocks = statistics.median(one["clocks"] for one in turns)
    each = [one["measured"] / one["bare"] - 1 for one in turns]
    said = statistics.median(one["median"] * one["calls"] / one["bare"] - 1 for one in turns)
    share = clocks * total["samples"] / total["bare"]
    return {
        "attention": cell.attention,
        "length": cell.length,
        "ms a call": 1e3 * total["bare"] / sum(one["calls"] for one in turns),
        "ms a sample": 1e3 * total["bare"] / total["samples"],
        "total / bare total - 1": f"{total['measured'] / total['bare'] - 1:.2%}",
        "median of turns": f"{statistics.median(each):.2%}",
        "median told / bare mean - 1": f"{said:.2%}",
        "clocks, us a sample": clocks * 1e6,
        "of a sample": f"{share:.4%}",
        "below 1%": "yes" if share < 0.01 else "no",
    }


SECTIONS = {
    "repeatability": repeatability,
    "verdicts": verdicts,
    "overhead": overhead,
}


def main() -> None:
    """Measure the sections named, or all."""
    parser = command_line(__doc__, SECTIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("reliability"), metavar="DIR")
    args = parser.parse_args()
    run_sections(SECTIONS, args.sections, _sweep(args.out, args.rounds))


def _sweep(out: Path, rounds: int) -> Measuring:
    """One whose lines go to standard error: the tables alone are the result."""
    here = supervise.describe()
    effort = Effort(BUDGET, rounds, TIME_LIMIT, here["xla_flags"])
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(sys.stderr):
        display = Display()
    return Measuring(out / records.FILE, machine(HERE, here["environment"]), effort, display)


if __name__ == "__main__":
    main()
