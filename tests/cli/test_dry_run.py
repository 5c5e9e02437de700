"""--dry-run, --quiet, --verbose and completion: nothing is run, nothing is written."""

import subprocess
import sys
from dataclasses import replace

import pytest
from common import ROOT, refused

from lra_bench.config import make_settings
from lra_bench.data.chance import Chance
from lra_bench.efficiency.supervise import Host
from lra_bench.records import record
from lra_bench.records.run_folder import RunFolder
from lra_bench.runtime.environment import Environment
from lra_bench.sweep.estimate import Estimate

DONE = ROOT / "results/mini-cpu/listops-linear-seed0/record.json"
LINEAR = ("run", "--preset", "smoke", "--attention", "linear")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def host(monkeypatch):
    """A machine of one device on which training steps have been timed."""
    place = Environment(device_kind="cpu", platform="cpu", device_count=1, host_cpu="a processor")
    monkeypatch.setattr(
        "lra_bench.efficiency.supervise.describe", lambda *_: Host(1, 2**33, place, "")
    )
    asked = []

    def of_run(settings, sizes, devices):
        asked.append((settings, sizes, devices))
        return Estimate(seconds=240.0, memory=2**30)

    monkeypatch.setattr("lra_bench.sweep.estimate.of_run", of_run)
    return asked


def written(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_run_says_what_it_would_do(cli, host, tmp_path):
    options = ("--set", "train.num_steps=30", "--data-dir", tmp_path / "data")
    status, out, err = cli(*LINEAR, *options, "--dry-run")
    assert (status, err) == (0, "")
    facts = {line[:15].strip(): line[15:] for line in out.splitlines()}
    assert facts["run"] == "listops with linear, preset smoke, seed 0"
    assert facts["settings"] == "train.num_steps=30"
    assert facts["training"] == "30 steps of 16 examples"
    assert facts["data"].startswith("listops (generate): generated, about")
    assert facts["folder"] == "runs/listops-linear-smoke-seed0: new"
    assert (facts["time"], facts["memory"]) == ("about 4 min", "about 1 GiB")
    ((settings, sizes, devices),) = host
    assert (settings.train.num_steps, sizes["train"], devices) == (30, 512, 1)
    assert written(tmp_path) == []


def test_an_unfinished_run_takes_what_is_left(cli, host, tmp_path):
    from lra_bench.config import make_settings
    from lra_bench.records.metrics import Metrics, Saved
    from lra_bench.records.run_folder import RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.start(make_settings("listops", "linear", "smoke", 0))
    metrics = Metrics(folder.path, Saved(lines=""))
    metrics.write(12, "train", 2.0, 0.5, 1.0)
    metrics.close()
    status, out, _ = cli(*LINEAR, "--out", folder.path, "--dry-run")
    assert status == 0
    assert "holds the unfinished run, at step 12; --resume goes on with it" in out
    assert "about 2 min" in out


def test_a_wrong_folder_is_refused_without_a_run(cli, host, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    refused(cli(*LINEAR, "--out", tmp_path, "--dry-run"), 2, "is not empty and holds no run")


def test_unknown_sizes_leave_the_time_open(cli, host, tmp_path):
    options = ("--task", "protein", "--data-dir", tmp_path / "data", "--dry-run")
    status, out, _ = cli(*LINEAR, *options)
    assert status == 0
    assert "unknown until the data are there" in out
    assert "get a FASTA file" in out


def test_efficiency_counts_its_cells(cli, host, tmp_path):
    words = ("--attentions", "softmax,linear", "--lengths", "512,1024", "--pass", "forward")
    status, out, err = cli("efficiency", *words, "--dry-run", "--out", "e", "--rounds", "2")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "    6 cells  attention regular, forward, batch 1, float32, L = 512, 1,024",
        "attentions: softmax, linear, identity",
        f"machine: 1 x a processor, {None} CPU cores, host {None}",
        "6 cells, 0 done, 12 visits to make",
        # 12 visits of 4 s and 5 s of timing, and 6 compilations of 5 s.
        "about 2 min, less where memory ends: longer lengths are then not run",
    ]
    assert written(tmp_path) == []


@pytest.fixture
def trained(monkeypatch):
    """A run ends at once, with the record of another."""
    done = record.read(DONE)
    monkeypatch.setattr("lra_bench.training.run.execute", lambda *_, **__: done)


def test_quiet_prints_nothing(cli, trained):
    status, out, _ = cli(*LINEAR)
    assert status == 0
    assert "test accuracy" in out
    assert cli(*LINEAR, "--out", "other", "-q") == (0, "", "")
    refused(cli(*LINEAR, "--task", "listop", "-q"), 2, "did you mean 'listops'")


def test_verbose_adds_details(capsys):
    from lra_bench.display.progress import Display

    Display().detail("more")
    assert capsys.readouterr().out == ""
    Display(verbose=True).detail("more")
    assert capsys.readouterr().out == "more\n"


def test_quiet_and_verbose_exclude_each_other(cli):
    refused(cli(*LINEAR, "-q", "-v"), 2, "not allowed with argument -q/--quiet")


def test_completion_without_its_library(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    refused(cli("completion", "bash"), 2, "pip install 'lra-bench[completion]'")
    refused(cli("completion", "fish"), 2, "valid: bash, zsh, tcsh")


def test_bash_completes(cli, tmp_path):
    pytest.importorskip("shtab", reason="needs lra-bench[completion]")
    status, script, _ = cli("completion", "bash")
    assert status == 0
    (tmp_path / "script").write_text(script)
    for words, expected in {
        ("run", "--attention", "perf"): "performer-generalized performer-relu performer-softmax",
        ("data", "pr"): "prepare",
        ("data", "prepare", "listo"): "listops",
        ("sweep", "--dry"): "--dry-run",
    }.items():
        call = f"COMP_WORDS=(lra-bench {' '.join(words)}); COMP_CWORD={len(words)}"
        call = f'source ./script; {call}; _shtab_lra_bench; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("diverged", "holds the finished run; --resume shows its result"),
        ("out_of_memory", "which ended in 'out of memory'; --resume tries it again"),
        ("failed", "which ended in 'failed'; --resume tries it again"),
        (None, "holds the unfinished run, at step 0; --resume goes on with it"),
    ],
)
def test_what_the_folder_of_a_run_holds(cli, host, tmp_path, status, says):
    settings = make_settings("listops", "softmax", "smoke", 0)
    RunFolder(tmp_path / "run").path.mkdir()
    RunFolder(tmp_path / "run").start(settings)
    if status is not None:
        made = replace(record.begin(settings, Chance(0.17)), status=status)
        record.write(tmp_path / "run", made)
    words = ("--preset", "smoke", "--attention", "softmax", "--out", tmp_path / "run")
    assert says in cli("run", "--dry-run", *words)[1]
