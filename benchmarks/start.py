"""Measure how soon a run shows its first training step, beside another version of this code.

    python benchmarks/start.py [ATTENTION ...] [--other DIR] [--rounds N] [--preset NAME]

Starts `lra-bench run` on ListOps without compiled programs, up to the end of its first step, and
prints the medians of wall and CPU seconds since the process began. With --other, runs of the code
in that checkout take turns with those of this one, so that a drift of the machine affects both.
Data must be there: `lra-bench data prepare listops`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Ends the process once a first step is complete; prints its wall and CPU seconds.
CODE = """
import os, sys, time
from lra_bench.training.programs import Programs
step = Programs.train_step

def first(self, state, batch):
    step(self, state, batch)[1].block_until_ready()
    used, ticks = os.times(), os.sysconf("SC_CLK_TCK")
    started = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19]) / ticks
    wall = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    print("first step", wall, used.user + used.system, flush=True)
    os._exit(0)

Programs.train_step = first
from lra_bench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def first_step(checkout: Path, attention: str, preset: str) -> tuple[float, float]:
    """Return the wall and CPU seconds until a run of this checkout has done a step."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["PYTHONPATH"] = str(checkout)
    words = ["run", "--attention", attention, "--preset", preset]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CODE, *words, "--out", f"{folder}/run"]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=True
        )
    (line,) = (x for x in done.stdout.splitlines() if x.startswith("first step"))
    wall, cpu = map(float, line.split()[2:])
    return wall, cpu


def main() -> None:
    """Measure the attentions on the command line, by turns with the other checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attentions", nargs="*", metavar="ATTENTION")
    parser.add_argument("--other", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preset", default="mini")
    args = parser.parse_args()
    checkouts = [ROOT] if args.other is None else [args.other.resolve(), ROOT]
    for attention in args.attentions or ("performer-softmax", "reformer", "identity"):
        rounds = [
            [first_step(checkout, attention, args.preset) for checkout in checkouts]
            for _ in range(args.rounds)
        ]
        for number, clock in enumerate(("wall", "CPU")):
            medians = [
                statistics.median(times[number] for times in column)
                for column in zip(*rounds, strict=True)
            ]
            shown = ", ".join(f"{seconds:.2f} s" for seconds in medians)
            print(
                f"{attention:<18} {clock:<4} {shown}  ({medians[0] / medians[-1]:.2f}x)", flush=True
            )


if __name__ == "__main__":
    main()
