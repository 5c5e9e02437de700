"""A run with much to lose, what is left of it, and whether it equals one that nobody disturbed."""

import os
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
from common import PATIENCE, SMOKE, read_record
from started import popen

from lra_bench.files.json_lines import read_lines
from lra_bench.records import record

# Enough evaluations, redrawings and dropout that a wrong key or order would show.
STEPS = 35
SETTINGS = {
    "train.num_steps": STEPS,
    "train.eval_every": 7,
    "train.log_every": 4,
    "train.resample_every": 5,
    "model.dropout": 0.1,
}
# Of a record, what depends on time and place.
_VARY = ("steps_per_second", "tokens_per_second", "compile_seconds", "peak_memory_bytes")


def arguments(out, attention="performer-softmax", **settings):
    """The command line of a run with these settings beside `SETTINGS`."""
    few = {"attention.num_features": 16} if attention.startswith("performer") else {}
    chosen = SETTINGS | few | settings
    options = [f"--set={name}={value}" for name, value in chosen.items()]
    return [*SMOKE, "--attention", attention, "--out", str(out), *options]


def start(environment, command, *, by=("-m", "lra_bench"), **options):
    """Start it in a process of its own."""
    return popen([sys.executable, *by, *map(str, command)], env=environment, **options)


def finish(environment, command):
    """Go on with a run, to its end; what it prints."""
    process = start(environment, [*command, "--resume"])
    printed, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, printed + err
    assert "Traceback" not in printed + err
    return printed


def lines(folder):
    """Metrics without the time they took, and without the checksums, which depend on it."""
    found, broken = read_lines(folder / "metrics.jsonl")
    assert not broken
    return [{key: line[key] for key in line if key != "seconds"} for line in found]


def outcome(folder):
    """A record without what depends on time and place."""
    found = read_record(folder / record.FILE)
    return {key: value for key, value in found.items() if key not in (*_VARY, "environment")}


def steps(folder):
    """The steps of the checkpoints."""
    return sorted(int(x.name) for x in (folder / "checkpoints").glob("*") if x.name.isdigit())


def state(folder, step):
    """What a checkpoint holds."""
    place = (folder / "checkpoints" / str(step) / "default").resolve()
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        return checkpointer.restore(place)


def assert_equal_runs(one, other):
    """Metrics, records, and the states of the best and of the last step."""
    assert lines(one) == lines(other)
    assert outcome(one) == outcome(other)
    for step in {read_record(one / record.FILE)["best_step"], max(steps(one))}:
        found, expected = state(one, step), state(other, step)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def wait_until(process, happened, seconds=PATIENCE):
    """Wait until something has happened; False where the process ended, or time, before."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        if happened():
            return True
        time.sleep(0.002)
    return False


def has_lines(folder, count):
    """Whether the run has written so many lines of metrics."""
    file = folder / "metrics.jsonl"
    return file.exists() and file.read_text().count("\n") >= count


def kills(usual):
    """How many times to kill: fewer than LRA_BENCH_KILLS, where that isn't set."""
    return int(os.environ.get("LRA_BENCH_KILLS", usual))
