"""SIGTERM, as before a preemption, and Ctrl-C: saved, said and gone before the run's end."""

import contextlib
import itertools
import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from common import PATIENCE
from runs import arguments, assert_equal_runs, finish, has_lines, lines, start, steps
from runs import wait_until as wait
from started import children, popen

from lra_bench.efficiency import supervise
from lra_bench.runtime.environment import Environment
from lra_bench.training.programs import Programs

pytestmark = pytest.mark.ci

# Each phase is long enough to be met: an evaluation has hundreds of batches.
SLOW = {
    "data.validation_size": 600,
    "data.test_size": 600,
    "train.eval_batch_size": 1,
    "train.num_steps": 20,
    "train.eval_every": 10,
    "train.log_every": 2,
}


def metrics(folder):
    return lines(folder) if (folder / "metrics.jsonl").exists() else []


def is_validating(folder):
    found = metrics(folder)
    return bool(found) and (found[-1]["step"], found[-1]["split"]) == (10, "train")


def is_testing(folder):
    return (folder / "checkpoints/20/checksums.json").exists()


PHASES = {
    "importing": None,  # it listens before it imports anything large
    "compiling": lambda out: (out / "config.json").exists(),
    "training": lambda out: has_lines(out, 1),
    "validating": is_validating,
    "testing": is_testing,
}


def stop(process, number=signal.SIGTERM):
    """Ask it to stop; what it prints."""
    process.send_signal(number)
    printed, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, printed + err
    assert "Traceback" not in printed + err
    assert printed.rstrip().endswith("--resume")
    return printed


BY_DEFAULT = "training"  # the phase in which a run has most to lose


@pytest.mark.parametrize(
    "phase",
    [pytest.param(x, marks=[pytest.mark.slow] if x != BY_DEFAULT else []) for x in PHASES],
)
def test_a_stop_in_each_phase(environment, undisturbed, tmp_path, phase):
    out = tmp_path / "run"
    command = arguments(out, "linear", **SLOW)
    process = start(environment, command)
    reached = PHASES[phase]
    if reached is None:
        assert wait(process, lambda: handles(process.pid, signal.SIGTERM, "SigCgt"))
    else:
        assert wait(process, lambda: reached(out))
    printed = stop(process)
    expected = {"training": "stopped at step ", "validating": "stopped at step 10;"}
    assert expected.get(phase, "stopped, nothing is lost;") in printed
    assert not (out / "record.json").exists()
    again = finish(environment, command)
    if phase in ("training", "validating"):
        assert f"going on from step {printed.partition('at step ')[2].partition(';')[0]}" in again
    assert_equal_runs(out, undisturbed("linear", **SLOW))


def at_work(process):
    """Whether the workers that the process has started are past their start: they ignore Ctrl-C."""
    pids = children(process.pid)
    workers = [pid for pid in pids if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    return bool(workers) and all(handles(pid, signal.SIGINT, "SigIgn") for pid in workers)


def handles(pid, number, how):
    """Whether a process catches ("SigCgt") or ignores ("SigIgn") a signal."""
    (mask,) = re.findall(rf"^{how}:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(mask, 16) >> (number - 1) & 1)


def wait_for_end(group):
    """Wait until a group of processes is gone."""
    until = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(0.05)
        pytest.fail("a worker outlives its parent")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stops_while_workers_start(environment, tmp_path, number):
    """From a terminal, to all of the group: nothing but one line, at whatever moment."""
    command = ["data", "prepare", "pathfinder"]
    for moment in range(8):
        data = tmp_path / str(moment)
        process = start(environment, [*command, "--data-dir", data], start_new_session=True)
        assert wait(process, lambda data=data: list(data.rglob(".*.scratch")))
        time.sleep(0.12 * moment)
        os.killpg(process.pid, number)
        printed, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert err.splitlines()[-1:] == ["lra-bench: interrupted"]
        assert "Traceback" not in printed + err
        wait_for_end(process.pid)


@pytest.mark.parametrize("task", ["listops", pytest.param("pathfinder", marks=pytest.mark.slow)])
def test_a_stop_while_data_are_prepared(environment, tmp_path, task):
    """By this process, and by several that must not outlive it; of a preset that takes minutes."""
    data = tmp_path / "data"
    command = ["run", "--task", task, "--preset", "paper", "--data-dir", data]
    command += ["--out", tmp_path / "run"]
    process = start(environment, command, start_new_session=True)
    assert wait(process, lambda: list(data.rglob(".*")) and (task == "listops" or at_work(process)))
    printed = stop(process)
    wait_for_end(process.pid)
    assert "stopped, nothing is lost" in printed
    assert not list(data.rglob("manifest.json"))


@pytest.mark.slow
def test_ctrl_c_saves_too(environment, undisturbed, tmp_path):
    command = arguments(tmp_path / "run", "linear", **SLOW)
    process = start(environment, command)
    assert wait(process, lambda: has_lines(tmp_path / "run", 1))
    printed = stop(process, signal.SIGINT)
    assert f"stopped at step {max(steps(tmp_path / 'run'))};" in printed
    finish(environment, command)
    assert_equal_runs(tmp_path / "run", undisturbed("linear", **SLOW))


@pytest.mark.slow
def test_a_terminal_that_hangs_up(environment, undisturbed, tmp_path):
    """Whatever is written to it fails from then on, and all is saved all the same."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "lra_bench", *arguments(out, "linear", **SLOW)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], list(map(str, command)), environment)
    until = time.monotonic() + PATIENCE
    while not has_lines(out, 1):
        assert time.monotonic() < until
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert max(steps(out)) % SLOW["train.eval_every"]  # it was saved between two evaluations
    finish(environment, arguments(out, "linear", **SLOW))
    assert_equal_runs(out, undisturbed("linear", **SLOW))


def ask(monkeypatch, what, number, by=signal.SIGTERM):
    """Have the programs' function ask this process to stop twice, in the call of that number."""
    usual, calls = getattr(Programs, what), itertools.count(1)

    def asking(*given):
        if next(calls) == number:
            for _ in range(2):
                signal.raise_signal(by)
        return usual(*given)

    monkeypatch.setattr(Programs, what, asking)


@pytest.mark.slow
def test_asked_twice_by_those_who_each_mean_the_first(cli, undisturbed, tmp_path, monkeypatch):
    """While it trains, and when it goes on while it validates, between two batches."""
    command = [*arguments(tmp_path / "run", "linear"), "--resume"]
    for what, number, step in (("train_step", 10, 10), ("eval_step", 2, 14)):
        with monkeypatch.context() as patch:
            ask(patch, what, number)
            status, printed, err = cli(*command)
        assert (status, err) == (1, "")
        assert f"stopped at step {step};" in printed
        assert max(steps(tmp_path / "run")) == step
        assert not (tmp_path / "run/record.json").exists()
    status, printed, err = cli(*command)
    assert (status, err) == (0, "")
    assert "going on from step 14" in printed
    assert_equal_runs(tmp_path / "run", undisturbed("linear"))


@pytest.fixture
def hangups(monkeypatch):
    """Set how this process takes a hang-up, as what starts it does."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda how: signal.signal(signal.SIGHUP, how)
    signal.signal(signal.SIGHUP, before)


def test_a_hangup_is_a_request_to_stop_but_not_under_nohup(
    cli, hangups, undisturbed, tmp_path, monkeypatch
):
    command = arguments(tmp_path / "run", "linear")
    hangups(signal.SIG_DFL)
    with monkeypatch.context() as patch:
        ask(patch, "train_step", 10, signal.SIGHUP)
        status, printed, _ = cli(*command)
    assert status == 1
    assert "stopped at step 10;" in printed
    hangups(signal.SIG_IGN)  # as nohup does
    with monkeypatch.context() as patch:
        ask(patch, "train_step", 5, signal.SIGHUP)
        status, printed, _ = cli(*command, "--resume")
    assert status == 0
    assert "going on from step 10" in printed
    assert_equal_runs(tmp_path / "run", undisturbed("linear"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(
    ("command", "part", "message"),
    [
        ("efficiency", "lra_bench.efficiency.supervise.measure", "stopped; the same command"),
        ("data prepare listops", "lra_bench.data.prepare._checksums", "interrupted"),
        ("table", "lra_bench.cli.table.main", "interrupted"),
    ],
)
def test_other_commands_end_in_one_line(
    cli, hangups, tmp_path, monkeypatch, number, command, part, message
):
    """They leave nothing half done, and no temporary file."""
    hangups(signal.SIG_DFL)
    host = supervise.Host(1, 2**30, Environment(platform="cpu"), "")
    monkeypatch.setattr(supervise, "describe", lambda *_: host)
    monkeypatch.setattr(part, lambda *args, **options: signal.raise_signal(number))
    place = () if command == "table" else ("--out", tmp_path)
    place = ("--data-dir", tmp_path) if "data" in command else place
    status, printed, err = cli(*command.split(), *place)
    assert status == 1
    assert message in printed + err
    assert "Traceback" not in printed + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.name.endswith("lock") for path in files)


# What a compiler does: it takes many minutes, and Python's own handlers aren't called meanwhile.
DEAF = """
import hashlib, sys
from lra_bench.cli import main
from lra_bench.efficiency import supervise
from lra_bench.runtime.environment import Environment
from lra_bench.training.programs import Programs
def compile_for_long(self):
    print("compiling", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)
Programs.compile = compile_for_long
sys.exit(main(sys.argv[1:]))
"""


def test_a_compiler_that_does_not_listen(environment, tmp_path):
    command = [sys.executable, "-c", DEAF, *arguments(tmp_path / "run", "identity")]
    process = popen(command, env=environment)
    while "compiling" not in process.stdout.readline():
        assert process.poll() is None
    printed = stop(process)
    assert "stopped, nothing is lost; go on with: lra-bench run" in printed
