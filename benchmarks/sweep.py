"""Measure a sweep's overhead per run, and how much compiled programs save the second seed.

    python benchmarks/sweep.py [--attention NAME] [--runs N] [--rounds N]

Overhead: does the same smoke runs on ListOps by `lra-bench run`, one after the other, and by
`lra-bench sweep`, with programs compiled before, and prints the difference in wall time per run. It
includes the sweep's start, plan and end, but no calibration.

Second seed: does N rounds of a sweep of two seeds of preset `mini`, without compiled programs, and
prints the wall and CPU seconds from the start of each run's process until it is ready to train, and
their medians. Compiling uses all cores, the rest of a start one. Linux only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

LRA_BENCH = [sys.executable, "-m", "lra_bench"]
READY = "parameters ("  # the line before training


class StartTime(NamedTuple):
    """The seconds from the start of a run's process until it is ready to train."""

    wall: float
    CPU: float


def timed(words: list[str], environment: dict[str, str]) -> float:
    """Run a command and return its wall time in seconds."""
    started = time.perf_counter()
    subprocess.run([*LRA_BENCH, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def overhead(attention: str, runs: int, folder: Path) -> None:
    """Print the seconds per run, by single commands and by a sweep."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    options = ["--attention", attention, "--preset", "smoke"]

    def run(seed: int, out: str) -> float:
        return timed(
            ["run", *options, "--seed", str(seed), "--out", str(folder / out)], environment
        )

    run(0, "first")
    by_hand = sum(run(seed, f"run{seed}") for seed in range(runs))
    seeds = ",".join(map(str, range(runs)))
    sweep = ["sweep", "--tasks", "listops", "--attentions", attention, "--preset", "smoke"]
    sweep += ["--seeds", seeds, "--no-calibration", "--out", str(folder / "sweep")]
    by_sweep = timed(sweep, environment)
    print(
        f"overhead: {runs} runs, {by_hand / runs:.2f} s each as commands, {by_sweep / runs:.2f} s "
        f"each in a sweep: {(by_sweep - by_hand) / runs:+.2f} s per run"
    )


def starts(attention: str, folder: Path) -> list[StartTime]:
    """Do a sweep of two seeds; return the start of each."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    words = ["sweep", "--tasks", "listops", "--attentions", attention, "--preset", "mini"]
    words += ["--seeds", "0,1", "--no-calibration", "--set", "train.num_steps=20"]
    process = subprocess.Popen(
        [*LRA_BENCH, *words, "--out", str(folder)], env=environment, stdout=subprocess.DEVNULL
    )
    logs = [folder / "logs" / f"listops-{attention}-seed{seed}.log" for seed in range(2)]
    begun: dict[Path, float] = {}
    ready: dict[Path, StartTime] = {}
    while process.poll() is None:
        for log in logs:
            if log not in begun and log.exists():
                begun[log] = time.perf_counter()
            if log in begun and log not in ready and READY in log.read_text():
                ready[log] = StartTime(
                    time.perf_counter() - begun[log], cpu_of_children(process.pid)
                )
        time.sleep(0.01)
    return [ready[log] for log in logs]


def cpu_of_children(pid: int) -> float:
    """Return the CPU seconds of the running descendants of process `pid`."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = [Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1] for child in children]
    ticks = sum(int(tick) for line in fields for tick in line.split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(cpu_of_children(int(x)) for x in children)


def second_seed(attention: str, rounds: int, folder: Path) -> None:
    """Print how soon the first and the second seed are ready to train."""
    pairs = [starts(attention, folder / str(number)) for number in range(rounds)]
    print(f"seconds until {attention} is ready to train, first and second seed:")
    for clock in StartTime._fields:
        both = [[getattr(start, clock) for start in pair] for pair in pairs]
        first, second = (statistics.median(seconds) for seconds in zip(*both, strict=True))
        each = ", ".join(f"{a:.1f} and {b:.1f}" for a, b in both)
        print(f"  {clock} time: {first:.2f} and {second:.2f} s, {first / second:.2f}x ({each})")


def main() -> None:
    """Measure the overhead and the second seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", default="performer-softmax")
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overhead(args.attention, args.runs, Path(folder))
        second_seed(args.attention, args.rounds, Path(folder) / "seeds")


if __name__ == "__main__":
    main()
