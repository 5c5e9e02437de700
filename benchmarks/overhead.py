"""Measure the share of a training step's wall time that is spent outside the compiled function.

    python benchmarks/overhead.py [ATTENTION ...]

For each attention, on ListOps `mini`, two kinds of blocks alternate, so that a drift of the machine
affects both: steps of the training loop (loader, logging, metrics file, Python), and bare calls of
the same compiled function on the same batch. Prints the medians, and the share of the loop's time
outside the function.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from lra_bench.config import make_settings
from lra_bench.data.location import data_root, locate
from lra_bench.data.obtain import load_data
from lra_bench.display.progress import Display
from lra_bench.records.metrics import Metrics, Saved
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.runtime.devices import choose_devices
from lra_bench.runtime.stopping import StopRequest
from lra_bench.training.checkpoint import Checkpoints
from lra_bench.training.learner import State, make_learner
from lra_bench.training.loop import Loop
from lra_bench.training.programs import Programs

ROUNDS, STEPS = 5, 40


def bare(programs: Programs, state: State, steps: int) -> tuple[State, float]:
    """Return the state and the seconds per step of the compiled function alone."""
    batch = programs.train_batch(0)
    started = time.perf_counter()
    for _ in range(steps):
        state, loss = programs.train_step(state, batch)
        loss.block_until_ready()
    return state, (time.perf_counter() - started) / steps


def looped(loop: Loop, state: State) -> tuple[State, float]:
    """Return the state and the seconds per step of the whole loop, without validation."""
    started = time.perf_counter()
    state = loop.fit(state)
    return state, (time.perf_counter() - started) / loop.settings.num_steps


def measure(attention: str) -> tuple[float, float]:
    """Return the median seconds per step of the loop and of the bare function."""
    overrides = [f"train.num_steps={STEPS}"]
    settings = make_settings("listops", attention, "mini", 0, overrides)
    devices = choose_devices(settings.train)
    task = make_task("listops", settings.data)
    store = load_data(task, locate(data_root(None), task, "generate"), Display())
    programs = Programs(make_learner(task, settings), settings, store, devices)
    programs.compile()
    pairs = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder) / "checkpoints")
            metrics = Metrics(Path(folder), Saved())
            loop = Loop(
                programs=programs,
                settings=settings.train,
                checkpoints=checkpoints,
                metrics=metrics,
                display=Display(),
                stop=StopRequest(),
                evaluator=None,  # validation and its checkpoint are not part of a step
            )
            _, with_loop = looped(loop, programs.init())
            _, alone = bare(programs, programs.init(), STEPS)
            pairs.append((with_loop, alone))
            checkpoints.close()
            metrics.close()
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def main() -> None:
    """Measure the attentions on the command line, or all."""
    print(f"{ROUNDS} alternating rounds of {STEPS} steps")
    for attention in sys.argv[1:] or ATTENTIONS.names():
        loop, function = measure(attention)
        print(
            f"{attention:<18} loop {loop * 1e3:7.2f} ms, function {function * 1e3:7.2f} ms, "
            f"outside {1 - function / loop:6.1%}"
        )


if __name__ == "__main__":
    main()
