"""Measurements in processes of their own, taken in turns and kept as lines of JSON."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lra_bench.runtime import huge_pages
from lra_bench.runtime.memory import peak, resident

THREADS = 2
Call = Callable[[], object]
# The fewest and the most calls that are timed, and the seconds after which no further one begins.
_FEWEST, _MOST, _SECONDS, _LONG = 3, 7, 4, 20


def measure(run: Call) -> dict[str, float]:
    """Return medians of a call's CPU and wall seconds, and the growth of peak RSS in bytes.

    The growth is NaN where the system does not let the peak start anew.
    """
    before = resident()
    run()
    grown = math.nan if before is None else max(peak() - before, 0)
    cpu, wall = [], []
    started = time.perf_counter()
    while len(cpu) < _FEWEST or (len(cpu) < _MOST and time.perf_counter() - started < _SECONDS):
        clocks = time.process_time(), time.perf_counter()
        run()
        cpu.append(time.process_time() - clocks[0])
        wall.append(time.perf_counter() - clocks[1])
        if cpu[0] > _LONG:
            break
    return {"cpu": statistics.median(cpu), "wall": statistics.median(wall), "peak": grown}


class Bench:
    """Measures specs in turns and keeps the results.

    A spec is a dictionary that the script itself, called with `--child SPEC`, understands.

    Args:
        script: the file of the script.
        rounds: the number of measurements of each spec.
        out: the file of JSON lines; None to keep none.
    """

    def __init__(self, script: str, rounds: int, out: Path | None) -> None:
        self.script, self.rounds, self.out = script, rounds, out
        lines = out.read_text().splitlines() if out is not None and out.exists() else []
        self.measured = [json.loads(line) for line in lines]

    def medians(self, specs: Iterable[dict[str, Any]]) -> list[dict[str, float]]:
        """Measure what is missing; return the medians over the rounds for each spec."""
        specs = list(specs)
        for number in range(self.rounds):
            for spec in specs:
                if not any(x["spec"] == spec and x["round"] == number for x in self.measured):
                    self._measure(spec, number)
        return [self._median(spec) for spec in specs]

    def _median(self, spec: dict[str, Any]) -> dict[str, float]:
        results = [line["result"] for line in self.measured if line["spec"] == spec]
        return {key: statistics.median(x[key] for x in results) for key in results[0]}

    def _measure(self, spec: dict[str, Any], number: int) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
        if spec["maker"] != "torch":  # as the commands of lra-bench start, and PyTorch does not
            env |= huge_pages.variables(env)
        command = [sys.executable, self.script, "--child", json.dumps(spec)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{spec}: {done.stderr.strip().splitlines()[-1]}")
        line = {"spec": spec, "round": number, "result": json.loads(done.stdout.splitlines()[-1])}
        print(f"  {_text(spec)}: {line['result']['cpu']:.3f} s CPU", file=sys.stderr)
        self.measured.append(line)
        if self.out is not None:
            with self.out.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _text(spec: dict[str, Any]) -> str:
    return " ".join(str(value) for value in spec.values() if value)
