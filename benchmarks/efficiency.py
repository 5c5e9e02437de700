"""Whether what `lra-bench efficiency` says can be relied on: times, memory, verdicts.

    python benchmarks/efficiency.py SECTION ... [--out FILE]

Sections: repeatability, prediction, verdicts, overhead; all, if none is named. Every measurement is
a process of its own, as in a sweep, but for overhead, which asks what timing costs within one. The
attention alone, batch 1, 8 heads of 64, float32. With --out, each measurement is kept as a JSON
line, and a second call on the same machine goes on with what is missing.
"""

import argparse
import functools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lra_bench.efficiency import records, supervise, timing
from lra_bench.efficiency.cells import ESTIMATE, HERE, Cell, Pass
from lra_bench.efficiency.plan import Choice, cells
from lra_bench.efficiency.search import STEP
from lra_bench.efficiency.sweep import machine
from lra_bench.efficiency.units import size_text
from lra_bench.registry import ATTENTIONS

Result = dict[str, Any]

TIME_LIMIT = 900.0  # seconds a measurement


def make_cell(attention: str, direction: Pass, length: int, **fields: Any) -> Cell:
    """An attention alone, as a sweep without further choices has it."""
    choice = Choice(attentions=(attention,), passes=(direction,), lengths=(length,), **fields)
    return cells(choice)[0]  # identity, which is always added, comes last


class Bench:
    """Takes measurements and keeps them; what a file has of this machine isn't taken again."""

    def __init__(self, out: Path | None) -> None:
        self.out, self.here = out, supervise.describe()
        self.machine = machine(HERE, self.here["environment"])
        mine = (line for line in _read(out) if line["machine"] == self.machine)
        self._found = {_key(line["spec"]): line["result"] for line in mine if _is_valid(line)}

    def measure(self, cell: Cell, budget: float | None = None, number: int = 0) -> Result:
        """What a fresh process finds of a cell; without a budget, nothing is timed."""
        spec = {"cell": cell.as_dict(), "budget": budget, "round": number}
        flags = self.here["xla_flags"]
        return self.kept(spec, lambda: supervise.measure(cell, budget, TIME_LIMIT, flags))

    def kept(self, spec: dict[str, Any], take: Callable[[], Result]) -> Result:
        """The measurement that a specification stands for, taken if it isn't there yet."""
        key = _key(spec)
        if key not in self._found:
            self._found[key] = take()
            _report(spec["cell"], self._found[key])
            if self.out is not None:
                line = {"machine": self.machine, "spec": spec, "result": self._found[key]}
                records.append(self.out, line)
        return self._found[key]


def _key(spec: dict[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True)


def _read(out: Path | None) -> Iterator[dict[str, Any]]:
    for text in out.read_text().splitlines() if out is not None and out.exists() else ():
        try:
            yield json.loads(text)
        except ValueError:  # cut off by a kill: it is measured again
            continue


def _is_valid(line: dict[str, Any]) -> bool:
    """As in a sweep: what went wrong for no known reason is tried again."""
    return line["result"].get("status") not in ("crashed", "failed")


def _report(cell: dict[str, Any], result: Result) -> None:
    what = f"{cell['attention']} {cell['direction']} {cell['length']:,} {cell['target']}"
    error = f": {result['error']}" if result.get("error") else ""
    print(f"  {what}: {result.get('status', 'ok')}{error}", file=sys.stderr)


def show(rows: list[dict[str, Any]]) -> None:
    """A markdown table."""
    table = pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3g", intfmt=",")
    print(table, end="\n\n", flush=True)


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


BUDGET = 3.0  # seconds of timing a cell
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


def repeatability(bench: Bench) -> None:
    """By how much two measurements of the same cell differ, all others taken in between."""
    todo = [make_cell(name, *kind) for name, kinds in TIMED.items() for kind in kinds]
    first, second = ([bench.measure(cell, BUDGET, number) for cell in todo] for number in (0, 1))
    rows = [_pair(*one) for one in zip(todo, first, second, strict=True)]
    counted = [row for row in rows if row["CPU s"] >= SHORTEST and row["again"] >= SHORTEST]
    print(f"{len(counted)} of {len(rows)} pairs are over {SHORTEST * 1e3:.0f} ms of CPU time:\n")
    if counted:
        show([_distribution(clock, [row[clock] for row in counted]) for clock in ("cpu", "wall")])
    show([{**row, "cpu": _percent(row["cpu"]), "wall": _percent(row["wall"])} for row in rows])


def _pair(cell: Cell, *results: Result) -> dict[str, Any]:
    cpu, wall = ([_seconds(one, clock) for one in results] for clock in ("cpu", "wall"))
    return {
        "attention": cell.attention,
        "pass": cell.direction,
        "length": cell.length,
        "CPU s": cpu[0],
        "again": cpu[1],
        "cpu": max(cpu) / min(cpu) - 1,
        "wall s": wall[0],
        "again, wall": wall[1],
        "wall": max(wall) / min(wall) - 1,
    }


def _seconds(result: Result, clock: str) -> float:
    """The median; not a number where a cell wasn't timed."""
    return result["timing"][clock]["median"] if result.get("timing") else math.nan


def _distribution(clock: str, apart: list[float]) -> dict[str, Any]:
    shares = {"median": 0.5, "75%": 0.75, "90%": 0.9, "max": 1.0}
    within = {f"within {most:.0%}": sum(one <= most for one in apart) for most in (0.05, 0.1)}
    return {
        "max / min - 1 of": f"{clock} time",
        "pairs": len(apart),
        **{name: _percent(float(np.quantile(apart, share))) for name, share in shares.items()},
        **within,
    }


LENGTHS = (8_192, 16_384)
CLOSE = 0.1


def prediction(bench: Bench) -> None:
    """Measured against predicted peak memory, of one that runs untimed."""
    limit = bench.here["bytes"] * 4 // 5  # as a sweep has it, so that the machine stays alive
    todo = [
        make_cell(name, direction, length, memory_limit=limit)
        for length in LENGTHS
        for direction in ("forward", "backward")
        for name in ATTENTIONS.names()
        if length == LENGTHS[0] or not ATTENTIONS.get(name).traits.exact
    ]
    rows = [_compare(cell, bench.measure(cell)) for cell in todo]
    show(rows)
    beyond, unknown = (sum(row["beyond 10%"] == one for row in rows) for one in ("yes", "unknown"))
    print(f"of {len(rows)}, {beyond} are beyond 10% and {unknown} not known\n")


def _compare(cell: Cell, result: Result) -> dict[str, Any]:
    memory = result.get("memory") or {}
    predicted, measured = (memory.get(f"{key}_bytes") for key in ("predicted", "measured"))
    ratio = measured / predicted if predicted and measured else math.nan
    return {
        "attention": cell.attention,
        "pass": cell.direction,
        "length": cell.length,
        "status": result["status"].replace("_", " "),
        "predicted": size_text(predicted) if predicted else "",
        "measured": size_text(measured) if measured else "",
        "measured / predicted": "" if math.isnan(ratio) else f"{ratio:.3f}",
        "beyond 10%": "unknown" if math.isnan(ratio) else "yes" if abs(ratio - 1) > CLOSE else "no",
    }


LIMITED = ("softmax", "performer-relu", "reformer")
LIMITS = tuple(gib * 2**30 for gib in (4, 8, 12))
# So far from the limit the prediction has to tell what happens.
BELOW, ABOVE = 0.97, 1.03


def verdicts(bench: Bench) -> None:
    """Whether what is predicted to fit below a limit does, and what is predicted not to doesn't."""
    rows = []
    for name in LIMITED:
        predicted = Predictions(bench, name)
        rows += [_verdict(bench, predicted, limit) for limit in LIMITS]
    show(rows)
    right = sum(row["right"] == "both" for row in rows)
    print(f"both verdicts are right in {right} of {len(rows)} rows\n")


def _verdict(bench: Bench, predicted: "Predictions", limit: int) -> dict[str, Any]:
    lengths = predicted.around(BELOW * limit)[0], predicted.around(ABOVE * limit)[1]
    found = [_status(bench, predicted.attention, length, limit) for length in lengths]
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


def _status(bench: Bench, attention: str, length: int, limit: int) -> str:
    cell = make_cell(attention, "backward", length, memory_limit=limit)
    return bench.measure(cell)["status"].replace("_", " ")


class Predictions:
    """Bytes by length that the compiler predicts of an attention's backward pass."""

    _STARTS = (1_024, 2_048)
    # Interpolation needs three or four; where memory grows in steps, halving is quicker.
    _MOST_GUESSES = 8

    def __init__(self, bench: Bench, attention: str) -> None:
        self.bench, self.attention = bench, attention
        self._known: dict[int, int] = {}

    def at(self, length: int) -> int:
        """The bytes at a length; compiled, if it is the first time."""
        if length not in self._known:
            cell = make_cell(self.attention, "backward", length, target=ESTIMATE)
            result = self.bench.measure(cell)
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
ROUNDS, ROUND_BUDGET = 10, 0.5


def overhead(bench: Bench) -> None:
    """What timing adds to bare calls in a loop, the two in turns; clocks must be below 1%."""
    rows = []
    for name, length in CALLED:
        cell = make_cell(name, "forward", length)
        call = functools.cache(functools.partial(_compiled, cell))
        rounds = [
            bench.kept(
                {"cell": cell.as_dict(), "budget": ROUND_BUDGET, "overhead": number},
                lambda call=call: _round(call()),
            )
            for number in range(ROUNDS)
        ]
        rows.append(_costs(cell, rounds))
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


def _round(call: Callable[[], object]) -> Result:
    """Seconds of timing with all that belongs to it, then of as many bare calls."""
    first, started = _bare(call, 1), time.perf_counter()
    found = timing.measure(call, first, ROUND_BUDGET, "wall")
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


def _costs(cell: Cell, rounds: list[Result]) -> dict[str, Any]:
    total = {key: sum(one[key] for one in rounds) for key in ("measured", "bare", "samples")}
    clocks = statistics.median(one["clocks"] for one in rounds)
    each = [one["measured"] / one["bare"] - 1 for one in rounds]
    said = statistics.median(one["median"] * one["calls"] / one["bare"] - 1 for one in rounds)
    share = clocks * total["samples"] / total["bare"]
    return {
        "attention": cell.attention,
        "length": cell.length,
        "ms a call": 1e3 * total["bare"] / sum(one["calls"] for one in rounds),
        "ms a sample": 1e3 * total["bare"] / total["samples"],
        "total / bare total - 1": f"{total['measured'] / total['bare'] - 1:.2%}",
        "median of rounds": f"{statistics.median(each):.2%}",
        "median told / bare mean - 1": f"{said:.2%}",
        "clocks, us a sample": clocks * 1e6,
        "of a sample": f"{share:.4%}",
        "below 1%": "yes" if share < 0.01 else "no",
    }


SECTIONS = {
    "repeatability": repeatability,
    "prediction": prediction,
    "verdicts": verdicts,
    "overhead": overhead,
}


def main() -> None:
    """Measure the sections named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION")
    parser.add_argument("--out", type=Path, metavar="FILE")
    args = parser.parse_args()
    bench = Bench(args.out)
    for name in args.sections or SECTIONS:
        print(f"## {name}: {(SECTIONS[name].__doc__ or '').strip()}\n", flush=True)
        SECTIONS[name](bench)


_Raw = functools.partial(argparse.RawDescriptionHelpFormatter, width=100)

if __name__ == "__main__":
    main()
