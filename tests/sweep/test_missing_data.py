"""A sweep whose data are missing, and a dry run, which only looks."""

import shlex
import socket

import pytest
from common import refused

from lra_bench.data import download
from lra_bench.efficiency import supervise
from lra_bench.errors import RunError
from lra_bench.registry import TASKS
from lra_bench.runtime.environment import Environment
from lra_bench.sweep import estimate, sweep

RELEASE = ("--set", "data.source=release")
HOST = supervise.Host(1, 2**33, Environment(platform="cpu"), "")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An empty working folder, which is HOME too; the machine is described without a process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(supervise, "describe", lambda *_: HOST)
    return tmp_path


@pytest.fixture
def done(monkeypatch):
    """The names of the runs that the sweep would start."""
    names = []

    def run(self, *_):
        names.extend(job.name for job in self.left)
        return 0

    monkeypatch.setattr(sweep._Sweep, "_run", run)
    return names


def snapshot(folder):
    """Everything below a folder, with sizes and times of the last change."""
    stats = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {path: (stat.st_size, stat.st_mtime_ns, stat.st_mode) for path, stat in stats.items()}


def call(*words, out="sweep", data="data"):
    usual = ("--preset", "smoke", "--attentions", "identity,linear", "--seeds", "0")
    return ("sweep", *usual, "--out", out, "--data-dir", data, *words)


@pytest.mark.parametrize("executor", ["local", "ray", "slurm"])
def test_a_dry_run_writes_and_downloads_nothing(cli, here, executor):
    before = snapshot(here)
    status, out, err = cli(*call("--dry-run", "--executor", executor))
    assert (status, err) == (0, "")
    assert snapshot(here) == before
    assert f"{2 * len(TASKS.names())} runs, 0 done, preset smoke" in out


def test_a_dry_run_of_a_real_machine_leaves_other_folders_alone(cli, tmp_path, monkeypatch):
    """In a sweep's folder that is there already, and with the process that looks at the devices."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "data").mkdir()
    before = snapshot(tmp_path)
    status, out, _ = cli(*call("--dry-run"))
    assert status == 0
    assert "one at a time" in out
    assert snapshot(tmp_path) == before


def test_a_dry_run_says_what_is_missing_and_how_large_it_is(cli, here):
    out = cli(*call("--dry-run"))[1]
    # 640 examples of at most 48 symbols of a byte, and a label of 4 bytes.
    assert "listops (generate): generated, about 32.5 KiB on disk" in out
    assert "text (archive): download of 80.2 MiB, then about " in out
    assert "image (archive): download of 162 MiB, then about " in out
    assert "retrieval (release): missing (about " in out
    assert "in lra_release.gz, 8 GB) from https://" in out
    assert "in all: 242 MiB to download" in out
    assert out.index("not prepared yet") < out.index(" runs, 0 done")


def test_a_dry_run_knows_what_was_downloaded_and_prepared(cli, here, data_dir):
    assert cli("data", "prepare", "listops", "--preset", "smoke")[0] == 0
    listops = call("--dry-run", "--tasks", "listops", data=data_dir)
    assert "all data are prepared" in cli(*listops)[1]
    folder = here / "data/downloads"
    folder.mkdir(parents=True)
    with (folder / "aclImdb_v1.tar.gz").open("wb") as file:
        file.truncate(84_125_825)
    out = cli(*call("--dry-run", "--tasks", "text"))[1]
    assert "text (archive): read from data/downloads/aclImdb_v1.tar.gz" in out
    assert "in all: 0 B to download" in out


def test_a_dry_run_measures_only_on_request_and_keeps_nothing(cli, here, monkeypatch):
    measured = []

    def measure(cell, *_, **__):
        measured.append(cell.attention)
        return supervise.records.Measurement(cell, machine="")

    monkeypatch.setattr(supervise, "measure", measure)
    before = snapshot(here)
    assert "--calibration measures them" in cli(*call("--dry-run", "--tasks", "listops"))[1]
    assert measured == []
    assert cli(*call("--dry-run", "--calibration", "--tasks", "listops"))[0] == 0
    assert measured == ["identity", "linear"]
    assert snapshot(here) == before
    assert not (here / "sweep" / estimate.FILE).exists()


def test_all_missing_data_are_named_before_anything_is_written(cli, here, done):
    before = snapshot(here)
    result = cli(*call("--tasks", "pathfinder,listops,retrieval,pathx", *RELEASE))
    refused(result, 2, "no data for listops, pathfinder, pathx and retrieval", "no other run")
    for task in ("listops", "pathfinder", "pathx", "retrieval"):
        assert f"lra-bench data prepare {task} --source PATH --preset smoke" in result[1]
    assert "--data-dir data" in result[1]
    assert snapshot(here) == before
    assert done == []


def test_the_command_that_goes_on_with_the_rest_runs_as_printed(cli, here, done):
    words = call("--tasks", "listops,retrieval", "--no-calibration", out="my sweep")
    result = cli(*words)
    refused(result, 2, "no data for retrieval; to go on with the other 2 runs: lra-bench sweep")
    program, *again = shlex.split(result[2].partition("runs: ")[2])
    assert program == "lra-bench"
    assert again == [*words, "--skip-missing-data"]
    status, out, err = cli(*again)
    assert (status, err) == (0, "")
    assert "left out, as their data are missing: 2 runs of retrieval" in out
    assert done == ["listops-identity-seed0", "listops-linear-seed0"]
    waiting = cli("sweep", "--status", "my sweep")[1]
    assert "retrieval" not in waiting


def test_downloads_that_fail_do_not_hide_each_other(cli, here, done, monkeypatch):
    def fetch(task, *_):
        raise RunError(f"{task.name}: no network")

    monkeypatch.setattr("lra_bench.data.obtain.fetch", fetch)
    words = call("--tasks", "text,listops,image", "--no-calibration")
    result = cli(*words)
    refused(result, 1, "no data for image and text; to go on with the other 2 runs: lra-bench")
    assert "text: no network" in result[1]
    assert "image: no network" in result[1]
    assert cli(*words, "--skip-missing-data")[0] == 0
    assert done == ["listops-identity-seed0", "listops-linear-seed0"]
    assert download.fetch is not fetch


def test_all_tasks_are_those_that_have_the_preset(cli, here):
    words = ("sweep", "--attentions", "identity", "--seeds", "0", "--dry-run", "--out", "sweep")
    status, out, _ = cli(*words)
    assert status == 0
    assert "left out: pathx, which has no preset mini" in out
    assert f"{len(TASKS.names()) - 1} runs" in out
    refused(cli(*words, "--tasks", "pathx"), 2, "unknown preset of pathx 'mini'", "small, lra")


def test_a_run_says_how_to_prepare_its_data(cli, here):
    words = ("run", "--task", "pathx", "--preset", "smoke", "--data-dir", "my data", *RELEASE)
    result = cli(*words, "--set", "data.size=20")
    prepare = "lra-bench data prepare pathx --source PATH --preset smoke --data-dir 'my data' "
    refused(result, 2, prepare + "--set data.size=20")
    assert not (here / "runs").exists()


def test_a_dry_run_leaves_out_what_it_is_told_to(cli, here):
    words = ("--dry-run", "--skip-missing-data", "--tasks", "listops,retrieval")
    out = cli(*call(*words))[1]
    assert "left out, as their data are missing: 2 runs of retrieval" in out
    assert "\n2 runs, 0 done" in out
