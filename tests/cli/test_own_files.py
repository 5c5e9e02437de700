"""Runs and measurements of an attention from a file of the user, and wrong calls of them."""

import json
import re
import shutil
from pathlib import Path

import pytest
from common import ROOT, SMOKE, read_record, refused, unsealed
from efficiency_cases import line
from leaderboard_cases import make, of_version
from own_files import write_attention, write_task

from lra_bench.cli import main
from lra_bench.efficiency import child, supervise
from lra_bench.efficiency import plan as cells
from lra_bench.files.json_lines import append_line
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.sweep import plan
from lra_bench.sweep.executor import Launch
from lra_bench.sweep.ray_executor import files_of, with_files
from lra_bench.training.restore import load_model

FEW = ("--set", "train.num_steps=2", "--set", "train.eval_every=2", "--set", "train.log_every=2")


def planned(out, *attentions, task="listops"):
    """The runs of a sweep, with the copies of the files that it makes."""
    choice = plan.Choice((str(task),), tuple(map(str, attentions)), (0,), "smoke")
    return plan.with_copies(plan.jobs(choice), out)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """A run as the process of a sweep does it, after the files of the user are gone."""
    root = tmp_path_factory.mktemp("own")
    files = write_attention(root / "mine.py"), write_task(root / "ends.py")
    (job,) = planned(root / "sweep", files[0], task=files[1])
    for path in files:
        path.unlink()
    out = root / "sweep" / job.name
    words = ["run", *job.arguments(), *FEW, "--out", str(out), "--data-dir", str(data_dir)]
    assert main(words) == 0
    del ATTENTIONS._entries["mine"], TASKS._entries["same-ends"]
    return out


def test_a_sweep_runs_copies_of_the_files(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    mine, linear = planned(tmp_path / "sweep", path, "linear")
    assert (mine.name, linear.name) == ("listops-mine-seed0", "listops-linear-seed0")
    copy = Path(mine.attention_file)
    assert copy.is_relative_to(tmp_path / "sweep/files")
    assert copy.read_text() == path.read_text()
    assert f"{copy}:mine" in mine.arguments()
    assert "linear" in linear.arguments()
    assert mine.settings().attention_file.name == "mine.py"
    from lra_bench.sweep.history import History

    History(tmp_path / "sweep").plan([mine, linear])
    assert History(tmp_path / "sweep").jobs() == [mine, linear]


def test_a_worker_of_ray_gets_the_files(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    words = ("--task", "listops", "--attention", f"{path}:mine", "--set", "a.b=c")
    launch = Launch("one", words, tmp_path / "run", tmp_path / "log", 1, None)
    files, text = files_of(launch), path.read_text()
    path.unlink()
    there = with_files(launch, files, tmp_path / "worker")
    copy, name = there.arguments[3].rsplit(":", 1)
    assert (name, Path(copy).name, Path(copy).read_text()) == ("mine", "mine.py", text)
    assert (*there.arguments[:3], *there.arguments[4:]) == (*words[:3], *words[4:])


@pytest.mark.ci
def test_the_record_names_file_checksum_and_defaults(finished):
    config = read_record(finished / "record.json")["config"]
    file = config["attention_file"]
    assert (config["attention"], file["name"]) == ("mine", "mine.py")
    assert (len(file["sha256"]), file["options"]) == (64, {"scale": 1.0})
    assert (config["task"], config["task_file"]["name"]) == ("same-ends", "ends.py")
    assert config["task_file"]["options"]["length"] == 256


def test_a_table_does_not_need_the_file(finished, cli):
    status, out, _ = cli("table", finished)
    assert status == 0
    assert "| mine  " in out


@pytest.mark.parametrize("name", ["mine", "mine.py", "mine.py:mine", "some/where/mine.py"])
def test_a_table_chooses_the_rows_of_a_file(finished, cli, name):
    linear = ROOT / "results/mini-cpu/listops-linear-seed0"
    status, out, _ = cli("table", finished, linear, "--attentions", name, "--tasks", "ends.py")
    assert status == 0
    assert "| mine  " in out
    assert "| linear" not in out


def test_a_folder_before_a_name_that_is_no_file_is_refused(finished, cli):
    said = "unknown attention among the records 'some/mine'; "
    refused(cli("table", finished, "--attentions", "some/mine"), 2, said)


def test_versions_of_a_file_are_told_apart_in_one_table(finished, cli, tmp_path):
    shutil.copytree(finished, tmp_path / "other")
    values = unsealed(finished / "record.json")
    values["config"]["attention_file"]["sha256"] = "0123456789" + 54 * "0"
    (tmp_path / "other/record.json").write_text(json.dumps(values))
    _, out, _ = cli("table", finished, tmp_path / "other")
    assert "| mine @01234567 " in out
    assert out.count("| mine @") == 2


def test_the_run_is_read_back_by_its_own_copy(finished):
    settings, task, model = load_model(finished)
    assert (settings.attention, task.name) == ("mine", "same-ends")
    assert model.encoder.blocks[0].attention.attend.func.__name__ == "mine"


def test_a_copy_that_was_changed_is_refused(finished, cli, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    with (run / "attention.py").open("a") as file:
        file.write("# changed\n")
    result = cli("analyze", "matrix", run, "--out", tmp_path / "out")
    refused(result, 1, f"{run}/attention.py is not the mine.py that the run was made with")
    (run / "attention.py").unlink()
    result = cli("analyze", "matrix", run, "--out", tmp_path / "out")
    refused(result, 1, f"{run}/attention.py: no such file")


def test_resume_refuses_a_changed_file(finished, cli, tmp_path):
    mine, ends = write_attention(tmp_path / "mine.py"), write_task(tmp_path / "ends.py")
    words = (*SMOKE, "--task", ends, "--attention", mine, *FEW, "--out", finished, "--resume")
    assert cli(*words)[0] == 0
    for file, copy in ((ends, "task.py"), (mine, "attention.py")):
        with file.open("a") as end:
            end.write("# changed\n")
        said = f"holds a run of another version of {file.name}: sha256 "
        refused(cli(*words), 2, said, f"the run's own copy is {finished / copy}; ")


def test_an_error_in_training_names_file_and_line(cli, tmp_path):
    path = write_attention(tmp_path / "mine.py")
    path.write_text(path.read_text().replace("real = mask", "real = q.nothing(mask)\n    mask"))
    status, out, _ = cli(*SMOKE, "--attention", path, *FEW, "--out", tmp_path / "run")
    assert status == 1
    assert "failed: mine.py, line 11: AttributeError: " in out


def test_a_diverged_run_of_a_file_points_to_verify(cli, tmp_path):
    path, run = write_attention(tmp_path / "mine.py"), tmp_path / "run"
    path.write_text(path.read_text().replace("scale * total", "scale * jnp.log(0 * total)"))
    status, out, _ = cli(*SMOKE, "--attention", path, *FEW, "--out", run)
    assert status == 1
    assert "diverged: the loss is not finite from step 1 on" in out
    assert f"to check the promises of your attention: lra-bench verify {run}/attention.py" in out


@pytest.mark.parametrize("words", [("--attentions", "at/mine.py"), ("--tasks", "ends.py")])
def test_a_table_of_efficiency_chooses_the_rows_of_a_file(cell, cli, tmp_path, words):
    given = {"size": cell.size, "preset": cell.preset, "config": cell.config}
    for found in (line(cell.attention, cell.length, **given), line("linear", cell.length)):
        append_line(tmp_path / "efficiency.jsonl", found)
    assert "linear" in cli("table", tmp_path)[1]
    status, out, _ = cli("table", tmp_path, *words)
    assert (status, "mine" in out, "linear" in out) == (0, True, False)


@pytest.fixture
def cell(tmp_path):
    """What is measured of an attention and a task from files that are then lost."""
    files = write_attention(tmp_path / "mine.py"), write_task(tmp_path / "ends.py")
    sizes = {"sizes": (str(files[1]),), "preset": "smoke", "passes": ("forward",)}
    found = cells.cells(cells.Choice((str(files[0]),), (64,), **sizes))
    for path in files:
        path.unlink()
    return next(x for x in found if x.attention == "mine")


def test_a_measuring_process_is_given_the_files(cell):
    given = json.loads(json.dumps(supervise._files(cell)))
    del ATTENTIONS._entries["mine"], TASKS._entries["same-ends"]
    child._load(given)
    assert ATTENTIONS.has("mine")
    assert TASKS.has("same-ends")


@pytest.mark.slow
def test_a_measuring_process_loads_the_files(cell):
    measured = supervise.measure(cell, None, 300, supervise.PLANNED)
    assert (measured.status, measured.error) == ("ok", None)


def test_the_data_of_a_task_from_a_file(cli, tmp_path):
    path, few = write_task(tmp_path / "ends.py"), ("--set", "data.size=100")
    for action in ("prepare", "check", "show"):
        words = ("data", action, path, "--preset", "smoke", "--data-dir", tmp_path / "data", *few)
        status, out, err = cli(*words)
        assert (status, err) == (0, ""), out
    assert f"--task {path}" in cli(*words[:1], "prepare", *words[2:])[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with files that are wrong in many ways."""
    monkeypatch.chdir(tmp_path)
    write_attention(tmp_path / "mine.py")
    write_attention(tmp_path / "other.py", change="# other\n")
    write_task(tmp_path / "ends.py")
    write_attention(tmp_path / "taken.py", "linear")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "test_my_own.py").write_text("")
    write_attention(tmp_path / "two.py", change=TWO)
    return tmp_path


TWO = "\n@register_attention('second')\ndef g(q, k, v, mask):\n    return v\n"
OUT = ("--out", "out")
SWEEP = ("sweep", "--tasks", "listops", "--preset", "smoke", *OUT, "--attentions")
EFFICIENCY = ("efficiency", "--lengths", "64", *OUT, "--attentions")
NEW = ("new", "attention")
NO_FILE, DOUBLE = "absent.py: no such file; lra-bench new", "both register attention mine; rename"
# What is typed, the exit status, and the words of the one line that answers.
WRONG = [
    (("run", "--attention", "absent.py"), 2, NO_FILE),
    (("run", "--attention", "absent.py:mine"), 2, NO_FILE),
    (("run", "--attention", "./mine"), 2, "unknown attention './mine'"),
    (("run", "--attention", "notes.txt"), 2, "unknown attention 'notes.txt': a name has no dot"),
    (("run", "--attention", "folder.py"), 2, "folder.py: a folder, not a file"),
    (("run", "--attention", "empty.py"), 2, "empty.py registers no attention: put @register"),
    (("run", "--attention", "ends.py"), 2, "ends.py registers no attention"),
    (("run", "--attention", "broken.py"), 2, "broken.py, line 2: SyntaxError"),
    (("run", "--attention", "taken.py"), 2, "attention 'linear' is registered twice"),
    (("run", "--attention", "two.py"), 2, "name one: two.py:mine, two.py:second"),
    (("run", "--attention", "two.py:secnd"), 2, "did you mean 'second'?"),
    (("run", "--attention", "two.py:"), 2, "unknown attention in two.py ''; valid: mine, second"),
    (("run", "--attention", "mine.py", "--set", "attention.scal=2"), 2, "'attention.scale'?"),
    (("run", "--attention", "mine.py", "--set", "attention.causal=1"), 2, "mine can't be causal"),
    (("run", "--attention", "mine.py", "--task", "text-lm"), 2, "mine can't be causal"),
    (("run", "--attention", "mine.py,linear"), 2, "--attention takes one name; lra-bench sweep"),
    (("run", "--task", "absent.py"), 2, NO_FILE),
    (("run", "--task", "mine.py"), 2, "registers no task: put @register_task"),
    (("run", "--task", "ends.py", "--preset", "paper"), 2, "preset of same-ends 'paper'"),
    (("run", "--task", "ends.py:ends"), 2, "unknown task in ends.py 'ends'"),
    ((*SWEEP, "mine.py,absent.py"), 2, NO_FILE),
    ((*SWEEP, "mine.py,other.py"), 2, DOUBLE),
    ((*SWEEP, "mine.py other.py"), 2, "mine.py other.py: no such file"),
    ((*SWEEP, "broken.py"), 2, "broken.py, line 2: SyntaxError"),
    ((*SWEEP, "all,empty.py"), 2, "registers no attention"),
    (("sweep", "--tasks", "mine.py", *OUT), 2, "registers no task"),
    ((*EFFICIENCY, "absent.py"), 2, NO_FILE),
    ((*EFFICIENCY, "mine.py,other.py"), 2, DOUBLE),
    ((*EFFICIENCY, "linear", "--size", "absent.py"), 2, NO_FILE),
    ((*EFFICIENCY, "linear", "--size", "mine.py"), 2, "registers no task"),
    (("ablate", "redraw", "--task", "mine.py", *OUT), 2, "registers no task"),
    (("data", "check", "mine.py"), 2, "registers no task"),
    (("verify",), 2, "lra-bench verify"),
    (("verify", "linaer"), 2, "unknown attention or task 'linaer'; did you mean 'linear'?"),
    (("verify", "absent.py"), 2, NO_FILE),
    (("verify", "broken.py"), 2, "broken.py, line 2: SyntaxError"),
    (("verify", "empty.py"), 2, "empty.py registers no attention"),
    (("verify", "two.py:third"), 2, "unknown attention or task in two.py 'third'"),
    (("verify", "folder.py"), 2, "a folder, not a file"),
    (("verify", "mine.py", "linear"), 2, "linear"),
    (("new",), 2, "lra-bench new"),
    (("new", "my-own"), 2, "unknown kind 'my-own'; valid: attention, task"),
    (NEW, 2, "NAME"),
    ((*NEW, "My_Own"), 2, "must be lower-case words joined by hyphens"),
    ((*NEW, "my own"), 2, "must be lower-case words joined by hyphens"),
    ((*NEW, "../own"), 2, "must be lower-case words joined by hyphens"),
    ((*NEW, "x" * 65), 2, "at most 64 characters"),
    ((*NEW, "2nd"), 2, "begins with a digit"),
    ((*NEW, "lambda"), 2, "is a word of Python"),
    ((*NEW, "linear"), 2, "attention linear exists already"),
    (("new", "task", "listops"), 2, "task listops exists already"),
    ((*NEW, "jnp"), 2, "its file imports something of that name"),
    (("new", "task", "2nd"), 2, "task name '2nd': begins with a digit"),
    ((*NEW, "mine"), 2, "mine.py is there already"),
    ((*NEW, "my-own"), 2, "test_my_own.py is there already"),
    ((*NEW, "good", "--out", "notes.txt"), 2, "notes.txt: is a file, not a folder"),
]


@pytest.mark.parametrize(
    ("words", "status", "said"), WRONG, ids=lambda x: "-".join(x)[:50] if type(x) is tuple else ""
)
def test_a_wrong_call_is_answered_in_one_line(cli, folder, words, status, said):
    refused(cli(*words), status, said)
    assert not (folder / "out").exists()


def test_attentions_are_chosen_by_the_names_in_the_tables(cli, tmp_path):
    for seed in range(3):
        made = make("softmax", seed)
        made["config"]["attention_file"] = of_version(seed // 2)
        (tmp_path / f"{seed}").mkdir()
        (tmp_path / f"{seed}/record.json").write_text(json.dumps(made))
    both = cli("table", tmp_path)[1]
    assert "| softmax @00000000 |" in both
    one = cli("table", tmp_path, "--attentions", "softmax @00000000")[1]
    assert "@00000000" not in one, "the only version needs no checksum"
    assert re.search(r"\| softmax +\| +40.0 ± 0.0 \| +2 \|", one)
