"""A sweep whose processes are killed at any moment ends as one that nobody disturbed."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from common import PATIENCE
from runs import SETTINGS, kills, lines, outcome

from lra_bench.records import record

pytestmark = pytest.mark.ci

ATTENTIONS = ("identity", "performer-softmax")
# The settings of single runs, so that those show what comes of a run that nobody disturbs.
SWEEP = (
    *("sweep", "--preset", "smoke", "--tasks", "listops", "--attentions", ",".join(ATTENTIONS)),
    *("--seeds", "0", "--no-calibration", "--set", "attention.num_features=16"),
    *(f"--set={name}={value}" for name, value in SETTINGS.items()),
)
# More of them: LRA_BENCH_KILLS=20.
KILLS = kills(1)


def assert_undisturbed(sweep, undisturbed):
    """The runs of a sweep equal single runs that nobody disturbed."""
    assert len(list(sweep.glob("*/record.json"))) == len(ATTENTIONS)
    for attention in ATTENTIONS:
        run, other = sweep / f"listops-{attention}-seed0", undisturbed(attention)
        assert outcome(run) == outcome(other), attention
        assert lines(run) == lines(other), attention


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
    assert_undisturbed(tmp_path, undisturbed)


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
    assert_undisturbed(tmp_path, undisturbed)


@pytest.mark.slow
def test_the_sweep_is_asked_to_stop(spawn, undisturbed, tmp_path):
    process = spawn(*SWEEP, "--out", tmp_path)
    a_moment_later(process, random.Random(0))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "stopped; the same command continues the sweep" in said
    finish(spawn, tmp_path)
    assert_undisturbed(tmp_path, undisturbed)


@pytest.mark.slow
def test_an_unreadable_record_is_put_aside_and_made_again(spawn, undisturbed, tmp_path):
    finish(spawn, tmp_path)
    torn = tmp_path / "listops-identity-seed0" / record.FILE
    torn.write_text(torn.read_text()[:100])
    process = spawn(*SWEEP, "--out", tmp_path)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "put aside" in said
    assert_undisturbed(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_full_disk_fails_no_more_than_it_must(undisturbed, spawn, tmp_path):
    """No file of more than a few bytes can be written: the sweep says so and goes on later."""
    process = spawn(
        *SWEEP, "--retries", "0", "--out", tmp_path, wrapper=("prlimit", "--fsize=4096")
    )
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    finish(spawn, tmp_path)
    assert_undisturbed(tmp_path, undisturbed)
