"""A sweep whose processes are killed at any moment ends as one that nobody disturbed."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from common import PATIENCE
from runs import kills, lines, outcome

from lra_bench.records import record

SWEEP = (
    *("sweep", "--preset", "smoke", "--tasks", "listops", "--attentions", "linear,performer-relu"),
    *("--seeds", "0", "--no-calibration"),
    *("--set", "train.num_steps=120", "--set", "train.eval_every=20"),
    *("--set", "train.log_every=10", "--set", "model.dropout=0.1"),
)
# More of them: LRA_BENCH_KILLS=20.
KILLS = kills(1)


def assert_equal_sweeps(one, other):
    names = sorted(path.parent.name for path in one.glob("*/record.json"))
    assert len(names) == 2
    for name in names:
        assert outcome(one / name) == outcome(other / name), name
        assert lines(one / name) == lines(other / name), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir):
    """The folder of a sweep that nobody disturbs."""
    from lra_bench.cli import main

    folder = tmp_path_factory.mktemp("undisturbed")
    assert main([*SWEEP, "--out", str(folder), "--data-dir", str(data_dir)]) == 0
    return folder


def runs_of(process):
    """The processes of a sweep that do its runs."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == process.pid and b"lra_bench.cli.sweep_child" in line:
            found.append(int(place.name))
    return found


def a_moment_later(process, chance, shortest=0.5, longest=5.0):
    """Wait for a random moment, from when its first run has begun."""
    until = time.monotonic() + PATIENCE
    while not runs_of(process) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    end = time.monotonic() + chance.uniform(shortest, longest)
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def gone(pids, seconds=PATIENCE):
    """Whether the processes end within so many seconds."""
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}/cmdline").exists() and _lives(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _lives(pid):
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def finish(spawn, out):
    process = spawn(*SWEEP, "--out", out)
    said, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said + errors


def test_the_sweep_is_killed(spawn, undisturbed, tmp_path):
    chance = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    for _ in range(KILLS):
        process = spawn(*SWEEP, "--out", tmp_path)
        a_moment_later(process, chance)
        runs = runs_of(process)
        process.kill()
        process.communicate()
        assert gone(runs), "runs outlive their sweep"
    finish(spawn, tmp_path)
    assert_equal_sweeps(tmp_path, undisturbed)


@pytest.mark.slow
def test_runs_are_killed(spawn, undisturbed, tmp_path):
    chance = random.Random(seed := random.randrange(10**6))
    print("seed", seed)
    process = spawn(*SWEEP, "--retries", "50", "--out", tmp_path)
    for _ in range(KILLS):
        a_moment_later(process, chance)
        for pid in runs_of(process):
            os.kill(pid, signal.SIGKILL)
    said, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said + errors
    assert_equal_sweeps(tmp_path, undisturbed)


@pytest.mark.slow
def test_the_sweep_is_asked_to_stop(spawn, undisturbed, tmp_path):
    process = spawn(*SWEEP, "--out", tmp_path)
    a_moment_later(process, random.Random(0))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "stopped; the same command continues the sweep" in said
    finish(spawn, tmp_path)
    assert_equal_sweeps(tmp_path, undisturbed)


@pytest.mark.slow
def test_an_unreadable_record_is_put_aside_and_made_again(spawn, undisturbed, tmp_path):
    finish(spawn, tmp_path)
    torn = tmp_path / "listops-linear-seed0" / record.FILE
    torn.write_text(torn.read_text()[:100])
    process = spawn(*SWEEP, "--out", tmp_path)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "put aside" in said
    assert_equal_sweeps(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_full_disk_fails_no_more_than_it_must(undisturbed, spawn, tmp_path):
    """No file of more than a few bytes can be written: the sweep says so and goes on later."""
    process = spawn(
        *SWEEP, "--retries", "0", "--out", tmp_path, wrapper=("prlimit", "--fsize=4096")
    )
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    finish(spawn, tmp_path)
    assert_equal_sweeps(tmp_path, undisturbed)
