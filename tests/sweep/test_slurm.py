"""A sweep by Slurm jobs: what is submitted, to a pretended Slurm, and jobs that must make room."""

import os
import signal
import stat
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from common import PATIENCE, read_record, refused

from lra_bench.errors import RunError, UsageError
from lra_bench.files.locks import locked
from lra_bench.sweep.executor import Ending, Launch, Needs

pytest.importorskip("submitit")

from lra_bench.sweep import slurm_executor, slurm_job
from lra_bench.sweep.slurm_executor import FOLDER, SlurmExecutor, check_options

pytestmark = pytest.mark.ci

LONG = ("--set", "train.num_steps=400", "--set", "train.eval_every=40")
SWEEP = (*("sweep", "--preset", "smoke", "--tasks", "listops", "--attentions", "identity"),
         *("--seeds", "0", "--executor", "slurm"))  # fmt: skip


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm that runs nothing: it notes what it is told, and says of all jobs what `states` says.

    Each job has the number 7, with an index in an array.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "srun": "exit 1",
        "sbatch": f'cat "$1" >> {folder}/submitted; echo Submitted batch job 7',
        "scancel": f'echo "$@" >> {folder}/cancelled',
        "sacct": f'echo "JobID|State|NodeList"; cat {folder}/states 2>/dev/null',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def out(tmp_path):
    (tmp_path / "sweep").mkdir()
    return tmp_path / "sweep"


def launch(out, name, time_limit=3600.0):
    return Launch(name, (), out / name, out / f"logs/{name}.log", time_limit, None)


def start(executor, out, *names, **changes):
    for name in names:
        executor.start(launch(out, name, **changes))
    return executor.ended()


def test_runs_of_one_time_limit_are_an_array(slurm, out):
    needs, options = Needs(cpus=4, gpus=2), [("partition", "long"), ("mem_per_cpu", "2G")]
    executor = SlurmExecutor(needs, 2, {}, out, options)
    assert executor.describe() == "as Slurm jobs, partition long, at most 2 at a time"
    assert start(executor, out, "a", "b") == []
    lines = set((slurm / "submitted").read_text().splitlines())
    assert lines >= {
        "#SBATCH --array=0-1%2",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --mem-per-cpu=2G",
        "#SBATCH --partition=long",
        "#SBATCH --signal=USR2@20",
        "#SBATCH --time=60",
    }
    assert not executor.has_room(launch(out, "c"))
    assert stat.S_IMODE((out / FOLDER).stat().st_mode) == 0o700
    executor.stop()
    assert (slurm / "cancelled").read_text() == "7_0\n7_1\n"


def test_runs_of_other_time_limits_are_jobs_of_their_own(slurm, out):
    executor = SlurmExecutor(Needs(), None, {}, out)
    executor.start(launch(out, "short", time_limit=1.0))
    start(executor, out, "long", time_limit=5400.0)
    text = (slurm / "submitted").read_text()
    assert ("--time=3\n" in text, "--time=90\n" in text, "--array" in text) == (True, True, False)


def test_a_run_stops_before_its_job_is_killed(slurm, out):
    executor = SlurmExecutor(Needs(), None, {}, out)
    start(executor, out, "a", time_limit=3600.0)
    (job, *_), *_ = executor._running
    assert job.submission().function._launch.time_limit == 3540


def test_a_job_that_is_lost_is_reported_and_cancelled(slurm, out, monkeypatch):
    from submitit import SlurmJob

    monkeypatch.setattr(SlurmJob, "_results_timeout_s", 0)
    executor = SlurmExecutor(Needs(), None, {}, out)
    (slurm / "states").write_text("7|NODE_FAIL|n1\n")
    ((_, ending),) = start(executor, out, "a")
    assert (ending.returncode, ending.memory_ran_out) == (None, False)
    assert ending.message.startswith("Slurm job 7: NODE_FAIL: ")
    assert (slurm / "cancelled").read_text() == "7\n"
    SlurmJob.watcher.clear()
    (slurm / "states").write_text("7|OUT_OF_MEMORY|n1\n")
    ((_, ending),) = start(executor, out, "b")
    assert (ending.returncode, ending.memory_ran_out) == (-signal.SIGKILL, True)


def test_a_job_that_is_preempted_and_not_requeued_has_been_interrupted(slurm, out, monkeypatch):
    executor = SlurmExecutor(Needs(), None, {}, out)
    (slurm / "states").write_text("7|PREEMPTED|n1\n")
    assert start(executor, out, "a") == []
    monkeypatch.setattr(slurm_executor, "_REQUEUE_SECONDS", 0)
    ((_, ending),) = executor.ended()
    assert (ending.interrupted, ending.returncode) == (True, None)


def test_jobs_of_a_sweep_that_was_killed_are_waited_for(slurm, out):
    from submitit import SlurmJob

    killed = SlurmExecutor(Needs(), None, {}, out)
    start(killed, out, "a", "b")
    (slurm / "states").write_text("7_0|RUNNING|n1\n7_1|CANCELLED by 5|n1\n")
    SlurmJob.watcher.clear()
    (slurm / "submitted").unlink()
    executor = SlurmExecutor(Needs(), None, {}, out)
    start(executor, out, "a")
    assert not (slurm / "submitted").exists()
    start(executor, out, "b")
    assert "#SBATCH" in (slurm / "submitted").read_text()


def test_what_slurm_refuses_is_said(slurm, out):
    text = "#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n"
    (slurm / "sbatch").write_text(text)
    executor = SlurmExecutor(Needs(), None, {}, out)
    with pytest.raises(RunError, match="refused the jobs: sbatch: error: invalid partition"):
        start(executor, out, "a")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("time", "3"), "write --time-limit instead"),
        (("cpus_per_task", "3"), "write --cpus instead"),
        (("output", "x"), "can't set this option"),
        (("wrap\n", "x"), "can't set this option"),
        (("cluster", "here"), "must be slurm or local"),
    ],
)
def test_options_that_a_sweep_sets_are_refused(option, says):
    with pytest.raises(UsageError, match=says):
        check_options([option])


def test_a_wrong_call_is_one_line(cli, out, monkeypatch):
    monkeypatch.setenv("PATH", str(out))
    call = (*SWEEP, "--no-calibration", "--out", out)
    refused(cli(*call), 2, "there is no Slurm here", "--slurm cluster=local")
    refused(cli(*call, "--tpus", "4"), 2, "--tpus: on Slurm", "--slurm gres=tpu:4")
    refused(cli(*call, "--slurm", "partition"), 2, "'partition' is not NAME=VALUE")
    refused(cli(*call, "--dry-run", "--slurm", "time=3"), 2, "write --time-limit instead")
    refused(cli(*call, "--executor", "local", "--slurm", "mem=1G"), 2, "is for --executor slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    refused(cli(*call), 2, "pip install 'lra-bench[slurm]'")


def processes(folder, word):
    """The processes of submitit that work for a sweep, by a word of their command."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line and str(folder).encode() in line:
            found.append(int(place.name))
    return found


def submitted(folder):
    """The process that submitit has started for the only job of a sweep."""
    return (processes(folder, "submitit.core._submit") or [None])[0]


def wait_for(condition):
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def test_a_job_that_must_make_room_saves_and_goes_on(spawn, out):
    """The signal puts the same job back into the queue, which is no failure."""
    call = (*SWEEP, "--slurm", "cluster=local", "--retries", "0", "--out", out, *LONG)
    sweep = spawn(*call)
    run, log = out / "listops-identity-seed0", out / "logs/listops-identity-seed0.log"
    saved = lambda: any(run.glob("checkpoints/[0-9]*/checksums.json"))  # noqa: E731
    wait_for(lambda: saved() or sweep.poll() is not None)
    os.kill(submitted(out), signal.SIGUSR2)
    said, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 0, said + errors
    assert log.read_text().count("going on from step") == 1
    assert "tried again" not in said
    record = read_record(run / "record.json")
    assert (record["status"], record["steps"]) == ("ok", 400)
    assert not (out / FOLDER).exists()


def test_a_job_that_slurm_ends_has_been_interrupted(out):
    executor = SlurmExecutor(Needs(), 1, {}, out, [("cluster", "local")])
    hangs = launch(out, "hangs")
    hangs.folder.mkdir()
    with locked(hangs.folder / ".lock", wait=False), closing(executor):
        assert start(executor, out, "hangs") == []
        wait_for(lambda: hangs.log.exists())
        os.kill(wait_for(lambda: submitted(out)), signal.SIGTERM)
        ((_, ending),) = wait_for(executor.ended)
    assert (ending.interrupted, ending.timed_out) == (True, False)


@pytest.fixture
def _signals_of_before():
    numbers = (signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_of_before")
@pytest.mark.parametrize(("steps", "interrupted"), [((40, 80), True), ((40, 40), False)])
def test_a_run_at_its_time_limit_goes_on_if_it_has_got_further(
    out, monkeypatch, steps, interrupted
):
    ending, seen = Ending(1, 5.0, timed_out=True), iter(steps)
    monkeypatch.setattr(slurm_job, "last_step", lambda folder: next(seen))
    monkeypatch.setattr(slurm_job.SlurmAttempt, "_carry_out", lambda self, warnings: ending)
    found = slurm_job.SlurmAttempt(launch(out, "a"), {}, out / "compiled")()
    assert (found.timed_out, found.interrupted) == (True, interrupted)
