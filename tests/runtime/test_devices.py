"""One run on several devices, of one process or of several: the same losses, one folder."""

import dataclasses
import functools
import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from common import HELPERS, PATIENCE, QUICK, SMOKE, read_record
from launching import address, slurm
from started import popen

from lra_bench.cli import main
from lra_bench.config import make_settings
from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS
from lra_bench.runtime import devices, launch
from lra_bench.runtime.devices import choose_devices

pytestmark = pytest.mark.ci

EIGHT = f"{QUICK} --xla_force_host_platform_device_count=8"
STEPS = 14
# What is random in it is drawn on devices.
QUICKLY = ("performer-softmax",)
THE_OTHERS = tuple(name for name in ATTENTIONS.names() if name not in QUICKLY)
ALL = (*QUICKLY, *(pytest.param(name, marks=pytest.mark.slow) for name in THE_OTHERS))
# Dropout and redrawing draw numbers too, which must not depend on where they are drawn.
OPTIONS = [
    f"--set={item}"
    for item in (
        f"train.num_steps={STEPS}",
        "train.log_every=1",
        "train.eval_every=10",
        "train.resample_every=6",
        "model.dropout=0.1",
    )
]
LATE = [*OPTIONS, f"--set=train.eval_every={STEPS}"]


def places(count=2):
    """The flags of each process."""
    where = address()
    return [
        ("--coordinator", where, "--processes", str(count), "--process-id", str(index))
        for index in range(count)
    ]


def figures(folder, split):
    """Loss by step."""
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["split"] == split}


def ended(processes, seconds=PATIENCE):
    """Status, output and errors of each, once all have ended."""
    deadline = time.monotonic() + seconds
    try:
        said = [x.communicate(timeout=max(1, deadline - time.monotonic())) for x in processes]
    finally:
        for process in processes:
            process.kill()
    return [(x.returncode, *texts) for x, texts in zip(processes, said, strict=True)]


@pytest.fixture
def pair(spawn):
    """Start two processes of a run; what differs between them comes in pairs."""

    def start(*args, each=((), ()), envs=({}, {}), flags=None):
        flags = places() if flags is None else flags
        return [
            spawn(*SMOKE, *OPTIONS, *args, *mine, *flag, env={"XLA_FLAGS": QUICK, **env})
            for mine, flag, env in zip(each, flags, envs, strict=True)
        ]

    return start


@pytest.fixture(scope="module")
def trained(environment, data_dir, tmp_path_factory):
    """The folder of the runs of some attentions in a place, and what was printed; on demand.

    One device is this process's. Attentions that run quickly are run together, and so are the
    others. The two processes are two tasks of a Slurm job step, of two devices each; they share
    neither a folder nor data.
    """
    script = HELPERS / "several_attentions.py"

    def start(folder, names, env, *args):
        command = [sys.executable, str(script), str(folder), names, *SMOKE[1:], *LATE, *args]
        return popen(command, env={**environment, **env})

    def alone(folder, names):
        for name in names.split(","):
            where = ("--out", str(folder / name), "--data-dir", str(data_dir))
            options = ("--set=train.num_devices=1", "--attention", name)
            assert main([*SMOKE, *LATE, *options, *where]) == 0

    def two_processes(root, names):
        job = {"SLURM_JOB_ID": slurm(0)["SLURM_JOB_ID"]}
        flags = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=2"}
        return [
            start(folder, names, {**slurm(index), **job, **flags}, "--data-dir", root / f"d{index}")
            for index, folder in enumerate((root / "2 processes", root / "second"))
        ]

    @functools.cache
    def make(names, place):
        root = tmp_path_factory.mktemp("trained")
        if place == "2 processes":
            processes = two_processes(root, names)
        elif place == "1 devices":
            alone(root / place, names)
            processes = []
        else:
            count = f"--set=train.num_devices={place.split()[0]}"
            processes = [start(root / place, names, {"XLA_FLAGS": EIGHT}, count)]
        results = ended(processes)
        for status, out, err in results:
            assert status == 0, out + err
        return root / place, results

    def get(attention, place):
        return make(",".join(QUICKLY if attention in QUICKLY else THE_OTHERS), place)

    return get


# Eight devices show what two would.
TWO = pytest.param("2 devices", marks=pytest.mark.slow)


@pytest.mark.parametrize("place", [TWO, "8 devices", "2 processes"])
@pytest.mark.parametrize("attention", ALL)
def test_the_losses_do_not_depend_on_the_devices(trained, place, attention):
    alone, shared = (trained(attention, where)[0] / attention for where in ("1 devices", place))
    for split, count in (("train", STEPS), ("validation", 1), ("test", 1)):
        expected, found = (figures(folder, split) for folder in (alone, shared))
        assert len(expected) == count
        assert found.keys() == expected.keys()
        differences = [abs(found[step] - loss) for step, loss in expected.items()]
        assert max(differences) <= 1e-5, (split, differences)


@pytest.mark.parametrize(
    ("place", "devices", "processes"),
    [
        ("1 devices", 1, 1),
        pytest.param("2 devices", 2, 1, marks=pytest.mark.slow),
        ("8 devices", 8, 1),
        ("2 processes", 4, 2),
    ],
)
def test_the_record_tells_devices_and_processes(trained, place, devices, processes):
    for folder in trained(QUICKLY[0], place)[0].iterdir():
        found = read_record(folder / "record.json")["environment"]
        assert (found["device_count"], found["processes"]) == (devices, processes)


def test_process_0_alone_writes_and_speaks(trained):
    folder, ((_, out, _), (_, *other_said)) = trained(QUICKLY[0], "2 processes")
    assert "test accuracy" in out
    assert other_said == ["", ""]
    assert read_record(folder / QUICKLY[0] / "record.json")["status"] == "ok"
    assert not (folder.parent / "second").exists()


def wait_for_lines(process, out, count):
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        file = out / "metrics.jsonl"
        if file.exists() and file.read_text().count("\n") >= count:
            return
        time.sleep(0.005)


# With state of every kind, and long enough to be stopped or killed on the way.
RUN = ("--attention", "performer-softmax", "--set=train.num_steps=60")


def saved_in(out):
    return max(int(x.name) for x in (out / "checkpoints").iterdir() if x.name.isdigit())


def stopped(processes, asked, out):
    """Ask one process to stop; the step at which all have."""
    wait_for_lines(processes[0], out, 4)
    processes[asked].send_signal(signal.SIGTERM)
    results = ended(processes)
    assert [status for status, *_ in results] == [1] * len(processes)
    assert not any(err for *_, err in results)
    step = saved_in(out)
    assert f"stopped at step {step};" in results[0][1]
    return step


@pytest.fixture(scope="module")
def undisturbed(environment, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    command = [sys.executable, "-m", "lra_bench", *SMOKE, *OPTIONS, *RUN, "--out", str(out)]
    env = {**environment, "XLA_FLAGS": QUICK}
    subprocess.run(command, env=env, check=True, capture_output=True)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 2])
def test_any_number_of_processes_goes_on_with_a_run(pair, spawn, undisturbed, tmp_path, first):
    """Stopped as one process and resumed as two, and the reverse; the request comes to the last."""
    out = tmp_path / "run"

    def start(count, *more):
        each = [("--out", out, *more), ("--out", tmp_path / "nowhere", *more)]
        if count == 2:
            return pair(*RUN, each=each)
        return [spawn(*SMOKE, *OPTIONS, *RUN, *each[0], env={"XLA_FLAGS": QUICK})]

    step = stopped(start(first), first - 1, out)
    assert 0 < step < 60
    status, printed, err = ended(start(3 - first, "--resume"))[0]
    assert status == 0, printed + err
    assert f"going on from step {step}" in printed
    for split in ("train", "validation", "test"):
        expected, found = (figures(folder, split) for folder in (undisturbed, out))
        assert found.keys() == expected.keys()
        np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=5e-5)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_dead_process_ends_the_others(pair, tmp_path, killed):
    out, other = tmp_path / "run", 1 - killed
    processes = pair("--attention=identity", "--out", out, "--set=train.num_steps=100000")
    wait_for_lines(processes[0], out, 4)
    processes[killed].kill()
    status, _, err = ended(processes)[other]
    assert status not in (0, None)
    if killed == 1:
        assert err == "lra-bench: another process of this run has ended\n"
        assert status == 1
        found = read_record(out / "record.json")
        assert (found["status"], found["error"]) == ("failed", launch.LOST)


def test_what_fails_before_training_fails_in_all(pair, tmp_path):
    """Process 1 can't get at its data; process 0 doesn't wait for it, and leaves no run behind."""
    (tmp_path / "file").touch()
    each = [("--out", tmp_path / "run"), ("--data-dir", tmp_path / "file")]
    first, second = ended(pair("--attention=identity", each=each))
    assert (first[0], second[0]) == (1, 2)
    assert first[2] == "lra-bench: process 1 failed, see what it says\n"
    assert "file: is a file, not a folder" in second[2]
    assert not (tmp_path / "run").exists()


def test_several_processes_use_all_devices(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    settings = make_settings("listops", "linear", "smoke", 0, ["train.num_devices=1"])
    with pytest.raises(UsageError, match="with several processes all of their devices are used"):
        choose_devices(settings.train)


def test_a_folder_that_is_taken_is_refused_by_all(pair, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    for status, _, err in ended(pair("--out", tmp_path / "run")):
        assert status == 2
        assert "is not empty and holds no run" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--coordinator host:1", "go together"),
        ("--processes 2 --process-id 0", "go together"),
        ("--process-id 0", "go together"),
        ("--processes 2 --process-id 2 --coordinator host:1", "must be from 0 to 1"),
        ("--processes 2 --process-id 0 --coordinator host", "must be HOST:PORT"),
        ("--processes 2 --process-id 0 --coordinator host:99999", "must be HOST:PORT"),
        ("--processes 0", "'0' is not a whole number from 1 to"),
        ("--processes 1 --process-id 1", "go together"),
    ],
)
def test_wrong_flags_are_told_in_one_line(cli, flags, message):
    status, out, err = cli(*SMOKE, *flags.split())
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_coordinator_that_is_not_there(cli, monkeypatch):
    monkeypatch.setattr(launch, "_START_SECONDS", 0.2)
    where = address()
    flags = ("--coordinator", where, "--processes", 2, "--process-id", 1)
    status, _, err = cli(*SMOKE, *flags)
    assert status == 1
    assert err.startswith(f"lra-bench: process 0 is not at {where}: ")


@pytest.mark.parametrize(
    ("count", "changes", "used", "words"),
    [
        (6, {}, 4, "6 devices don't divide train.batch_size=16; --set train.batch_size=18 uses"),
        (64, {}, 16, "64 devices don't divide train.batch_size=16; --set train.batch_size=64 uses"),
        (6, {"accumulate": 2}, 4, "train.batch_size=16 / train.accumulate=2; --set "),
        (12, {"sequence_devices": 2}, 8, "6 devices don't divide"),
        (8, {}, 8, None),
    ],
)
def test_devices_that_do_not_divide_a_training_batch(monkeypatch, count, changes, used, words):
    """All that can be used are, and a note says what to set; a number asked for is refused."""
    every = [object() for _ in range(count)]
    monkeypatch.setattr(devices, "local_devices", lambda: every)
    monkeypatch.setattr(devices, "sharing", lambda chosen, sequence: SimpleNamespace(all=chosen))
    monkeypatch.setattr(jax, "devices", lambda: every)
    monkeypatch.setattr(jax, "device_count", lambda: count)
    usual = make_settings("listops", "identity", "smoke", 0).train
    settings = dataclasses.replace(usual, **changes)
    chosen = choose_devices(settings)
    note = devices.left_out(settings, chosen)
    assert len(chosen.all) == used
    assert (note is None) if words is None else (words in note and f"num_devices={used}" in note)
    if words:
        with pytest.raises(UsageError, match=f"train.num_devices={used} fewer"):
            choose_devices(dataclasses.replace(settings, num_devices=count))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4, 6, 8, 64])
def test_results_do_not_depend_on_a_number_of_devices_that_divides_nothing(spawn, tmp_path, count):
    """Of the last batch of an evaluation and of the others: every example counts once."""
    runs = {n: tmp_path / str(n) for n in (1, count)}
    for n, out in runs.items():
        flags = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count={n}"}
        few = ("--attention=linear", "--set=train.num_steps=6", "--set=train.eval_batch_size=21")
        (result,) = ended([spawn(*SMOKE, *few, "--out", out, env=flags)])
        assert result[0] == 0, result
    one, other = (read_record(out / "record.json") for out in runs.values())
    for split in ("validation", "test"):
        assert one[split]["accuracy"] == other[split]["accuracy"]
        assert one[split]["loss"] == pytest.approx(other[split]["loss"], abs=5e-5)
