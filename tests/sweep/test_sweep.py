"""Sweeps: their history, the verdict on an attempt, and the command."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from common import PATIENCE, read_record, unsealed_lines

from lra_bench.config import make_settings
from lra_bench.data.chance import Chance
from lra_bench.display.units import duration
from lra_bench.errors import RunError
from lra_bench.records import record
from lra_bench.sweep import history, plan, schedule
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.executor import Ending
from lra_bench.sweep.history import Attempts, History
from lra_bench.sweep.run_state import run_state

pytestmark = pytest.mark.ci

SMOKE = ("sweep", "--preset", "smoke", "--tasks", "listops", "--no-calibration")


def job(seed=0):
    return plan.jobs(plan.Choice(("listops",), ("linear",), (seed,), "smoke"))[0]


def test_history_survives_a_line_that_was_cut_off_and_adds_runs(tmp_path):
    past, run = History(tmp_path), job()
    past.plan([run])
    past.begin(run, fresh=True)
    with (tmp_path / history.EVENTS).open("a") as file:
        file.write('{"run": "lis')
    past.end(run, "failed", "why", 2.0)
    past.begin(run, fresh=True)
    past.end(run, "ok", None, 3.0)
    attempts = past.attempts()[run.name]
    assert (attempts.ended, attempts.errors, attempts.seconds) == (2, ["failed: why"], 3.0)
    assert not attempts.is_running()
    other = [job(seed=7), job(seed=8)]
    assert [each.name for each in past.plan(other)] == [run.name, *(each.name for each in other)]
    assert past.jobs() == [run, *other]


def test_an_attempt_is_running_while_its_sweep_is_alive(tmp_path):
    past, run = History(tmp_path), job()
    past.begin(run, fresh=True)
    assert past.attempts()[run.name].is_running()
    lines = unsealed_lines(tmp_path / history.EVENTS)
    lines = lines.replace(f'"pid": {os.getpid()}', '"pid": 4194999')
    (tmp_path / history.EVENTS).write_text(lines)
    assert not past.attempts()[run.name].is_running()


def test_an_unreadable_plan_is_reported(tmp_path):
    (tmp_path / history.PLAN).write_text("{")
    with pytest.raises(RunError, match="can't be read"):
        History(tmp_path).jobs()


def ending(returncode, **changes):
    return Ending(returncode, 1.0, **{"message": "last words", **changes})


def with_record(folder, status):
    settings = job().settings()
    error, score = None if status == "ok" else "why", record.Score(0.5, 1.0, 10)
    result = replace(record.begin(settings, Chance(0.1)), status=status, error=error)
    if status == "ok":
        result = replace(result, best_step=1, test=score, validation=score)
    folder.mkdir(exist_ok=True)
    record.write(folder, result)


@pytest.mark.parametrize(
    ("written", "end", "outcome", "again"),
    [
        ("ok", ending(0), "ok", False),
        ("ok", ending(-11), "ok", False),
        ("diverged", ending(1), "diverged", False),
        ("out_of_memory", ending(1), "out_of_memory", False),
        ("failed", ending(1), "failed", True),
        ("failed", ending(-9), "killed", True),
        (None, ending(-9), "killed", True),
        (None, ending(-9, memory_ran_out=True), "out_of_memory", True),
        (None, ending(-6, message="terminate called: std::bad_alloc"), "out_of_memory", True),
        (None, ending(None), "killed", True),
        (None, ending(1, timed_out=True), "timed_out", True),
        (None, ending(1), "failed", True),
        (None, ending(2), "failed", False),
    ],
)
def test_the_verdict_on_an_attempt(tmp_path, written, end, outcome, again):
    if written:
        with_record(tmp_path, written)
    verdict = schedule.judge(tmp_path, end, stopping=False)
    assert (verdict.outcome, verdict.may_retry) == (outcome, again)
    assert (verdict.error is None) == (outcome == "ok")


def test_a_run_that_was_asked_to_stop_has_stopped(tmp_path):
    assert schedule.judge(tmp_path, ending(1), stopping=True).outcome == "stopped"
    with_record(tmp_path, "ok")
    assert schedule.judge(tmp_path, ending(0), stopping=True).outcome == "ok"


def test_the_state_of_a_run(tmp_path):
    assert run_state(tmp_path / "none", Attempts()).status == "waiting"
    assert run_state(tmp_path / "none", Attempts(errors=["killed: x"])).status == "failed"
    with_record(tmp_path, "ok")
    assert run_state(tmp_path, Attempts(errors=["killed: x"])).is_done
    (tmp_path / record.FILE).write_text("{")
    broken = run_state(tmp_path, Attempts())
    assert broken.status == "failed"
    assert "unreadable" in broken.error


def test_a_run_whose_folder_is_closed_does_not_hide_the_others(tmp_path, monkeypatch):
    def closed(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", closed)
    state = run_state(tmp_path, Attempts())
    assert (state.status, state.error) == ("failed", f"{tmp_path}: permission denied")


def test_the_time_limit_follows_the_estimate():
    assert schedule.Patience().limit(Estimate()) == 3600
    assert schedule.Patience().limit(Estimate(seconds=1000)) == 10_000
    assert schedule.Patience(time_limit=5).limit(Estimate(seconds=1000)) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 s"), (95, "2 min"), (3600, "1 h"), (5000, "1 h 23 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_a_sweep_has_a_run_that_fails_goes_on_and_adds_more(cli, spawn, tmp_path):
    """A run fails, is tried again and stops no other; a sweep goes on alone in its folder."""
    folder = tmp_path / "listops-identity-seed0"
    call = (*SMOKE, "--attentions", "identity", "--seeds", "0,1", "--out", tmp_path)
    status, out, _ = cli(*call, "--dry-run")
    assert status == 0
    assert "2 runs, 0 done" in out
    assert not list(tmp_path.glob("listops-*"))

    folder.mkdir()
    settings = make_settings("listops", "identity", "smoke", 0)
    (folder / "config.json").write_text(json.dumps(settings.as_dict()))
    (folder / "checkpoints").write_text("no folder")
    status, out, _ = cli(*call, "--retries", "1")
    assert status == 1
    assert out.count("listops-identity-seed0: failed") == 2
    assert "listops-identity-seed1: test accuracy" in out
    assert read_record(folder / record.FILE)["status"] == "failed"
    status, out, _ = cli("sweep", "--status", tmp_path)
    assert status == 1
    assert "listops-identity-seed0: failed (2 attempts)" in out

    (folder / "checkpoints").unlink()
    more = (*SMOKE, "--attentions", "linear,identity", "--seeds", "0,1,2", "--out", tmp_path)
    more += ("--filter", "identity")
    first = spawn(*more)
    while "running" not in cli("sweep", "--status", tmp_path)[1]:
        assert first.poll() is None
        time.sleep(0.05)
    status, _, err = cli(*more)
    assert status == 2
    assert "another sweep is at work" in err
    out, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, out + err
    assert "3 runs, 1 done" in out
    assert "[3 of 3]  listops-identity-seed" in out
    assert read_record(folder / record.FILE)["status"] == "ok"
    last = read_record(tmp_path / "listops-identity-seed2" / record.FILE)
    assert last["compile_seconds"] is None  # an earlier seed's program

    status, out, _ = cli(*more)
    assert (status, out) == (0, "all 3 runs are done\n")
    status, out, _ = cli("sweep", "--status", tmp_path)
    assert status == 0
    assert "3 ok" in out
    assert cli("table", tmp_path)[0] == 0
    status, _, err = cli(*call, "--preset", "mini")
    assert status == 2
    assert "another config: preset" in err


def test_runs_that_diverge_or_exceed_their_memory_limit_are_results_and_stop_no_other(
    cli, tmp_path
):
    call = (*SMOKE, "--attentions", "identity", "--seeds", "0", "--out", tmp_path)
    call += ("--set", "train.learning_rate=100", "--set", "train.weight_decay=10")
    widths = ("--grid", "model.ffn_dim=400000,32")
    status, out, _ = cli(*call, *widths, "--memory-limit", "400MiB")
    assert status == 0
    assert out.count("out of memory") == 1
    assert "ffn_dim=32-seed0: diverged" in out
    ends = {
        width: read_record(tmp_path / f"listops-identity-model.ffn_dim={width}-seed0" / record.FILE)
        for width in (400_000, 32)
    }
    assert ends[400_000]["error"].endswith("(--memory-limit 400 MiB)")
    assert [end["status"] for end in ends.values()] == ["out_of_memory", "diverged"]
    assert "1 diverged, 1 out of memory" in cli("sweep", "--status", tmp_path)[1]


def test_a_hung_run_is_ended_and_recorded(cli, tmp_path):
    call = (*SMOKE, "--attentions", "identity", "--seeds", "0", "--out", tmp_path)
    long = ("--set", "train.num_steps=100000000", "--set", "train.eval_every=100000000")
    status, out, _ = cli(*call, *long, "--time-limit", "4", "--retries", "0")
    assert status == 1
    assert "timed out: stopped after" in out
    result = read_record(tmp_path / "listops-identity-seed0" / record.FILE)
    assert (result["status"], result["chance"] > 0) == ("failed", True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "needs --out"),
        (("--out", "x", "--tasks", "listop"), "did you mean 'listops'"),
        (("--out", "x", "--seeds", "0,a"), "'a' is not a seed"),
        (("--out", "x", "--grid", "train.num_steps"), "is not KEY=VALUE"),
        (("--out", "x", "--gpus", "1"), "JAX finds none here"),
        (("--status", "nowhere"), "--status nowhere: no such file or folder"),
        (("--status", "."), "holds no sweep"),
    ],
)
def test_a_wrong_call_is_one_line(cli, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, _, err = cli(*SMOKE, *words)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*/listops*"))


def test_an_unreadable_record_does_not_refuse_the_sweep(tmp_path):
    """The sweep puts the record aside when it begins."""
    folder = tmp_path / job().name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(job().settings().as_dict()))
    (folder / record.FILE).write_text('{"schema": 1,')
    plan.check_folders([job()], tmp_path)
    assert run_state(folder, Attempts()).status == "failed"
