"""Test whether `lra-bench efficiency` is reliable: its times, its verdicts, the cost of timing.

    python benchmarks/efficiency.py SECTION ... [--rounds N] [--out DIR]

Sections: repeatability, verdicts, overhead; default: all. The first two are sweeps: their records
are in DIR, and the same command adds what is missing. The third measures what timing costs within a
process. All measure the attention alone, with batch 1, 8 heads of 64, float32.
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

# The defaults of a sweep: seconds per cell, rounds, and the time limit in seconds.
BUDGET, ROUNDS, TIME_LIMIT = 10.0, 3, 900.0


def make_cell(attention: str, direction: Pass, length: int, **fields: Any) -> Cell:
    """Return the cell of an attention alone, with the defaults of a sweep."""
    choice = Choice(attentions=(attention,), passes=(direction,), lengths=(length,), **fields)
    return cells(choice)[0]  # identity, which is always added, comes last


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


SHORTEST = 0.05  # the least CPU seconds of a pair that counts
Kinds = tuple[tuple[Pass, int], ...]
_QUADRATIC: Kinds = (("forward", 1_024), ("forward", 2_048), ("backward", 1_024))
_LINEAR: Kinds = (("forward", 4_096), ("forward", 16_384), ("backward", 8_192))
# Three cells of each attention, chosen to take between 50 ms and 1.5 s of CPU time on two cores.
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
    """Measure how much two copies of a cell differ in one sweep, with all others between them."""
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
    """Return an equal cell that a sweep takes for another: its seed, which is unused, differs."""
    return dataclasses.replace(cell, config={**cell.config, "seed": number})


def _row(sweep: Measuring, cell: Cell) -> rows.Measured:
    return next(x for x in rows.from_lines(sweep.lines([cell])) if x.length == cell.length)


def _pair(*copies: rows.Measured) -> dict[str, Any]:
    """Return the medians of two copies and their ratio; NaN where a copy was not timed."""
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


def _distribution(clock: str, gaps: list[float]) -> dict[str, Any]:
    shares = {"median": 0.5, "75%": 0.75, "90%": 0.9, "max": 1.0}
    within = {f"within {most:.0%}": sum(gap <= most for gap in gaps) for most in (0.05, 0.1)}
    return {
        "max / min - 1 of": f"{clock} time",
        "pairs": len(gaps),
        **{name: _percent(float(np.quantile(gaps, share))) for name, share in shares.items()},
        **within,
    }


LIMITED = ("softmax", "performer-relu", "reformer")
LIMITS = tuple(gib * 2**30 for gib in (4, 8, 12))
# The prediction must be right up to these shares of the limit.
BELOW, ABOVE = 0.97, 1.03


def verdicts(sweep: Measuring) -> None:
    """Test whether cells predicted to fit a memory limit do fit, and the others do not."""
    rows = []
    for name in LIMITED:
        predicted = Predictions(sweep, name)
        rows += [_verdict(sweep, predicted, limit) for limit in LIMITS]
    show(rows)
    right = sum(row["right"] == "both" for row in rows)
    print(f"both verdicts are right in {right} of {len(rows)} rows\n")


def _verdict(sweep: Measuring, predicted: "Predictions", limit: int) -> dict[str, Any]:
    lengths = predicted.around(BELOW * limit)[0], predicted.around(ABOVE * limit)[1]
    statuses = [_status(sweep, predicted.attention, length, limit) for length in lengths]
    expected = ("ok", "out of memory")
    right = [status == wanted for status, wanted in zip(statuses, expected, strict=True)]
    shares = [_percent(predicted.at(length) / limit) for length in lengths]
    return {
        "attention": predicted.attention,
        "limit": size_text(limit),
        f"longest to {BELOW:.0%}": lengths[0],
        "predicted": shares[0],
        "verdict": statuses[0],
        f"shortest from {ABOVE:.0%}": lengths[1],
        "predicted, this": shares[1],
        "verdict, this": statuses[1],
        "right": {2: "both", 1: "one", 0: "none"}[sum(right)],
    }


def _status(sweep: Measuring, attention: str, length: int, limit: int) -> str:
    cell = make_cell(attention, "backward", length, memory_limit=limit)
    return sweep.tried(cell).status.replace("_", " ")


class Predictions:
    """The bytes that the compiler predicts for an attention's backward pass, by length."""

    _STARTS = (1_024, 2_048)
    # Interpolation needs three or four guesses; where memory grows in steps, halving is faster.
    _MOST_GUESSES = 8

    def __init__(self, sweep: Measuring, attention: str) -> None:
        self.sweep, self.attention = sweep, attention
        self._known: dict[int, int] = {}

    def at(self, length: int) -> int:
        """Return the bytes at a length; compile it on the first call."""
        if length not in self._known:
            cell = make_cell(self.attention, "backward", length, target=ESTIMATE)
            line = self.sweep.tried(cell)
            predicted = line.memory.predicted_bytes if line.memory else None
            if line.status != "ok" or predicted is None:
                sys.exit(f"{self.attention} {length:,}: {line.status}: {line.error}")
            self._known[length] = predicted
        return self._known[length]

    def around(self, limit: float) -> tuple[int, int]:
        """Return neighbouring multiples of 64: the first takes at most the limit, the next more.

        Few lengths are compiled: the next is where a power law through known ones meets the limit.
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
        """Return the longest known length within the limit, or 0, and the next known one, or 0."""
        low = max((n for n in self._known if self._known[n] <= limit), default=0)
        return low, min((n for n in self._known if n > low), default=0)

    def _between(self, low: int, high: int, limit: float, *, guess: bool) -> int:
        """Return a multiple of 64 above `low`, and below `high` unless that is 0."""
        if not high:
            longest = max(self._known)
            # Neighbouring lengths could take the same memory.
            length = self._meets(max(n for n in self._known if 2 * n <= longest), longest, limit)
        elif low and guess:
            length = self._meets(low, high, limit)
        else:
            length = (low + high) / 2
        length = max(int(length) // STEP * STEP, low + STEP)
        return min(length, high - STEP) if high else length

    def _meets(self, first: int, second: int, limit: float) -> float:
        """Return the length at which a L^b through two known lengths is the limit."""
        growth = math.log(self._known[second] / self._known[first]) / math.log(second / first)
        return first * (limit / self._known[first]) ** (1 / growth)


# Forward passes of about 1 ms, 20 ms and 200 ms on two cores.
CALLED = (("linear", 128), ("linear", 4_096), ("linear", 32_768))
TURNS, TURN_BUDGET = 10, 0.5


def overhead(_: Measuring) -> None:
    """Measure what timing adds to bare calls in a loop, in turns; clocks must cost below 1%."""
    rows = []
    for name, length in CALLED:
        cell = make_cell(name, "forward", length)
        call = _compiled(cell)
        rows.append(_costs(cell, [_turn(call) for _ in range(TURNS)]))
    show(rows)


def _compiled(cell: Cell) -> Callable[[], object]:
    """Return the call that a measuring process times."""
    import jax

    from lra_bench.efficiency import programs, targets

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    program, layout = programs.build(cell), programs.Layout(targets.devices(HERE, 1))
    compiled = layout.trace(program).lower().compile()
    state, inputs = layout.arrays(program, layout.compile_init(program))
    _bare(call := lambda: jax.block_until_ready(compiled(state, *inputs)), 3)
    return call


def _bare(call: Callable[[], object], calls: int) -> float:
    """Return the seconds of `calls` calls."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - started


def _turn(call: Callable[[], object]) -> dict[str, Any]:
    """Measure the seconds of timing a call, then those of the same number of bare calls."""
    first, started = _bare(call, 1), time.perf_counter()
    timed = timing.measure(call, first, TURN_BUDGET, "wall")
    measured = time.perf_counter() - started
    samples = timed.repeats or 0
    calls = samples * (timed.calls_per_repeat or 0)
    bare, median, clocks = _bare(call, calls), timed.wall.median, _clocks()
    return {"measured": measured, "bare": bare, "calls": calls, "samples": samples,
            "median": median, "clocks": clocks}  # fmt: skip


def _clocks(readings: int = 10_000) -> float:
    """Return the seconds that the clocks of one sample take: two are read before and after."""
    started = time.perf_counter()
    for _ in range(2 * readings):
        time.perf_counter()
        time.process_time()
    return (time.perf_counter() - started) / readings


def _costs(cell: Cell, turns: list[dict[str, Any]]) -> dict[str, Any]:
    total = {key: sum(turn[key] for turn in turns) for key in ("measured", "bare", "samples")}
    clocks = statistics.median(turn["clocks"] for turn in turns)
    ratios = [turn["measured"] / turn["bare"] - 1 for turn in turns]
    reported = statistics.median(
        turn["median"] * turn["calls"] / turn["bare"] - 1 for turn in turns
    )
    share = clocks * total["samples"] / total["bare"]
    return {
        "attention": cell.attention,
        "length": cell.length,
        "ms per call": 1e3 * total["bare"] / sum(turn["calls"] for turn in turns),
        "ms per sample": 1e3 * total["bare"] / total["samples"],
        "total / bare total - 1": f"{total['measured'] / total['bare'] - 1:.2%}",
        "median of turns": f"{statistics.median(ratios):.2%}",
        "reported median / bare mean - 1": f"{reported:.2%}",
        "clocks, us per sample": clocks * 1e6,
        "clocks, share of a sample": f"{share:.4%}",
        "below 1%": "yes" if share < 0.01 else "no",
    }


SECTIONS = {
    "repeatability": repeatability,
    "verdicts": verdicts,
    "overhead": overhead,
}


def main() -> None:
    """Run the sections on the command line, or all."""
    parser = command_line(__doc__, SECTIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("reliability"), metavar="DIR")
    args = parser.parse_args()
    run_sections(SECTIONS, args.sections, _sweep(args.out, args.rounds))


def _sweep(out: Path, rounds: int) -> Measuring:
    """Return a sweep whose progress goes to standard error: only tables go to standard output."""
    here = supervise.describe()
    effort = Effort(BUDGET, rounds, TIME_LIMIT, here.xla_flags)
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(sys.stderr):
        display = Display()
    return Measuring(out / records.FILE, machine(HERE, here.environment), effort, display)


if __name__ == "__main__":
    main()
