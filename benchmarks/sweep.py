"""What a sweep costs beyond its runs, and what one seed's compiled programs save the next.

    python benchmarks/sweep.py [--attention NAME] [--runs N]

Overhead: the same smoke runs on ListOps, once by `lra-bench run` one after the other and once by
`lra-bench sweep`, their programs compiled before; the difference of wall time, a run. The sweep's
start, plan and end are in it, calibration isn't.

Second seed: a sweep of two seeds of preset `mini` without compiled programs: seconds from the start
of each run's process until it is about to train.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LRA_BENCH = [sys.executable, "-m", "lra_bench"]
READY = "parameters ("  # the line before training


def timed(words: list[str], environment: dict[str, str]) -> float:
    """Seconds of wall time of a command."""
    started = time.perf_counter()
    subprocess.run([*LRA_BENCH, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def overhead(attention: str, runs: int, folder: Path) -> None:
    """Print seconds a run by hand and by a sweep."""
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    one = ["--attention", attention, "--preset", "smoke"]

    def run(seed: int, out: str) -> float:
        return timed(["run", *one, "--seed", str(seed), "--out", str(folder / out)], environment)

    run(0, "first")
    by_hand = sum(run(seed, f"run{seed}") for seed in range(runs))
    seeds = ",".join(map(str, range(runs)))
    sweep = ["sweep", "--tasks", "listops", "--attentions", attention, "--preset", "smoke"]
    sweep += ["--seeds", seeds, "--no-calibration", "--out", str(folder / "sweep")]
    by_sweep = timed(sweep, environment)
    print(
        f"overhead: {runs} runs, {by_hand / runs:.2f} s each by hand, {by_sweep / runs:.2f} s in a "
        f"sweep: {(by_sweep - by_hand) / runs:+.2f} s a run"
    )


def second_seed(attention: str, folder: Path) -> None:
    """Print how soon the first and the second seed start to train."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    words = ["sweep", "--tasks", "listops", "--attentions", attention, "--preset", "mini"]
    words += ["--seeds", "0,1", "--no-calibration", "--set", "train.num_steps=20"]
    process = subprocess.Popen(
        [*LRA_BENCH, *words, "--out", str(folder)], env=environment, stdout=subprocess.DEVNULL
    )
    logs = [folder / "logs" / f"listops-{attention}-seed{seed}.log" for seed in range(2)]
    begun: dict[Path, float] = {}
    ready: dict[Path, float] = {}
    while process.poll() is None:
        for log in logs:
            if log not in begun and log.exists():
                begun[log] = time.perf_counter()
            if log in begun and log not in ready and READY in log.read_text():
                ready[log] = time.perf_counter()
        time.sleep(0.01)
    first, second = (ready[log] - begun[log] for log in logs)
    print(
        f"second seed of {attention}: about to train after {second:.2f} s, the first after "
        f"{first:.2f} s: {first / second:.1f}x sooner"
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", default="performer-softmax")
    parser.add_argument("--runs", type=int, default=6)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        overhead(args.attention, args.runs, Path(folder))
        second_seed(args.attention, Path(folder) / "seeds")


if __name__ == "__main__":
    main()
