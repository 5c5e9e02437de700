"""Starting with the parameters of a run with another attention: `run --init-from`."""

import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from common import PATIENCE, SMOKE, read_record

from lra_bench.config import make_settings
from lra_bench.data.chance import Chance
from lra_bench.files.regular import sha256
from lra_bench.leaderboard.results import results
from lra_bench.leaderboard.tables import render
from lra_bench.records import record
from lra_bench.settings import Origin
from lra_bench.training import restore

pytestmark = pytest.mark.ci

PERFORMER = (*SMOKE, "--set=attention.num_features=16")
# The same programs as of other runs, validated at their end only.
ONCE = "--set=train.eval_every=24"
OPTIONS = ("--set=train.num_steps=40", "--set=train.eval_every=10", "--set=model.dropout=0.1")


def lines(folder):
    """Metrics without the time they took."""
    keep = ("step", "split", "loss", "accuracy")
    text = (folder / "metrics.jsonl").read_text()
    return [tuple(json.loads(line)[key] for key in keep) for line in text.splitlines()]


def contents(folder):
    return {path: sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory, data_dir):
    """A finished run with softmax, which all tests only read."""
    from lra_bench.cli import main

    out = tmp_path_factory.mktemp("source") / "run"
    args = [*SMOKE, "--attention", "softmax", "--out", str(out), "--data-dir", str(data_dir)]
    assert main(args) == 0
    return out


@pytest.fixture(scope="module")
def starts():
    """What each run is given for its first step: parameters, then all else as text."""
    from lra_bench.training.loop import Loop

    states = []
    fit = Loop.fit

    def spy(self, state):
        copies = (state.params, state.sampled, state.optimiser, state.step)
        states.append([{k: np.array(v) for k, v in copies[0].items()}, *map(str, copies[1:])])
        return fit(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "fit", spy)
        yield states


@pytest.fixture(scope="module")
def tuned(source, starts, tmp_path_factory, data_dir):
    """A finished run with performer-softmax from it, and what its first step was given."""
    from lra_bench.cli import main

    out = tmp_path_factory.mktemp("tuned") / "run"
    args = [*PERFORMER, "--init-from", str(source), "--out", str(out), "--data-dir", str(data_dir)]
    assert main(args) == 0
    return out, starts[-1]


def test_record_and_lines(source, tuned):
    tuned, _ = tuned
    of_source, found = (read_record(folder / "record.json") for folder in (source, tuned))
    best, origin = of_source["best_step"], found["init_from"]
    checksums = source / "checkpoints" / str(best) / "checksums.json"
    assert origin["path"] == str(source)
    assert origin["sha256"] == sha256(checksums)
    assert (origin["task"], origin["attention"], origin["step"]) == ("listops", "softmax", best)
    assert origin["test_accuracy"] == of_source["test"]["accuracy"]
    before = [(split, loss, accuracy) for step, split, loss, accuracy in lines(tuned) if step == 0]
    for split, loss, accuracy in before:
        found = {key: value for key, value in origin[split].items() if key != "correct"}
        assert found == {"accuracy": accuracy, "loss": loss, "examples": 64}
    assert [split for split, _, _ in before] == ["validation", "test"]
    assert of_source["init_from"] is None
    assert of_source["config"]["init_from"] is None


def test_best_step_counts_the_start(tuned):
    tuned, _ = tuned
    found = read_record(tuned / "record.json")
    validated = {x[0]: x[3] for x in lines(tuned) if x[1] == "validation"}
    assert found["best_step"] == max(validated, key=lambda step: (validated[step], -step))
    assert list(validated) == [0, 8, 16, 24]


def test_only_parameters_are_taken(cli, source, tuned, starts, tmp_path):
    """Seen in the state that the first step is given."""
    assert cli(*PERFORMER, ONCE, "--out", tmp_path / "new")[0] == 0
    (params, *others), (new_params, *new_others) = tuned[1], starts[-1]
    _, wanted, _, _ = restore.load_state(source)
    assert params.keys() == wanted.keys() == new_params.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(params[name], value, err_msg=name)
    assert others == new_others
    assert any((params[name] != new_params[name]).any() for name in wanted)


def test_the_same_attention_starts_where_the_source_was(cli, source, tmp_path):
    """To the last digit, from the run's best and from a step of it; step 0 may stay the best."""
    out, still = tmp_path / "run", "--set=train.learning_rate=1e-12"
    args = (*SMOKE, "--attention", "softmax", "--out", out, still, ONCE)
    status, printed, _ = cli(*args, "--init-from", source)
    assert status == 0
    of_source, found = (read_record(folder / "record.json") for folder in (source, out))
    for split in ("validation", "test"):
        assert found["init_from"][split] == of_source[split] == found[split]
    assert found["best_step"] == 0
    assert [x[0] for x in lines(out) if x[1] == "test"] == [0]
    best, accuracy = of_source["best_step"], of_source["validation"]["accuracy"]
    assert (
        f"starting from softmax at step {best} of {source}: "
        f"validation accuracy {accuracy:.1%} before any step" in printed
    )
    (other,) = {16, 24} - {best}
    validated = {x[0]: x[2:] for x in lines(source) if x[1] == "validation"}
    args = (*SMOKE, "--attention", "softmax", "--out", tmp_path / "step", still, ONCE)
    assert cli(*args, "--init-from", source / f"checkpoints/{other}")[0] == 0
    assert lines(tmp_path / "step")[0][2:] == validated[other]
    origin = read_record(tmp_path / "step/record.json")["init_from"]
    assert (origin["step"], origin["test_accuracy"]) == (other, None)


def test_the_source_is_only_read(cli, source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "source")
    os.truncate(copy / "checkpoints/16/checksums.json", 9)
    before = contents(copy)
    run = (*SMOKE, ONCE, "--attention", "linear", "--out")
    assert cli(*run, tmp_path / "run", "--init-from", copy / "checkpoints/24")[0] == 0
    assert contents(copy) == before
    assert cli(*run, tmp_path / "no", "--init-from", copy / "checkpoints/16")[0] == 1
    assert contents(copy) == before


def refused(result, status, out, *words):
    found, _, err = result
    assert found == status, err
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert not out.exists(), "a refused call leaves nothing behind"


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        ("linformer", ("attend.key_projection is none there, (1, 48, 48) here",)),
        ("reformer", ("encoder.blocks.0.attention.key.bias is (32,) there, none here",)),
    ],
)
def test_other_parameters_are_refused(cli, source, tmp_path, attention, words):
    out = tmp_path / "run"
    args = (*SMOKE, "--attention", attention, "--init-from", source, "--out", out)
    refused(cli(*args), 2, out, f"softmax on listops there and {attention} here", *words)


def test_other_shapes_are_refused(cli, source, tmp_path):
    out = tmp_path / "run"
    args = (*SMOKE, "--init-from", source, "--out", out, "--set=model.ffn_dim=48")
    refused(cli(*args), 2, out, "encoder.blocks.0.ffn_in.bias is (32,) there, (48,) here")


def test_other_settings_are_said(cli, source, tmp_path):
    options = ("--set=model.num_heads=1", "--set=model.head_dim=32", "--set=data.seed=1")
    args = (*SMOKE, "--attention", "identity", "--out", tmp_path / "run", ONCE, *options)
    status, printed, _ = cli(*args, "--init-from", source)
    assert status == 0
    for words in ("note: the checkpoint is of another setting: ", "data.seed is 0 there, 1 here",
                  "model.num_heads is 2 there, 1 here"):  # fmt: skip
        assert words in printed


def test_no_checkpoint(cli, source, tmp_path):
    out = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    shutil.copy(source / "config.json", tmp_path / "begun")
    for path, words in {
        tmp_path / "nowhere": "nowhere holds no run: no such folder",
        source / "record.json": "record.json: is a file, not a folder",
        tmp_path / "empty": "empty holds no run: there is no config.json",
        tmp_path / "begun": "begun holds no checkpoint yet",
    }.items():
        refused(cli(*SMOKE, "--init-from", path, "--out", out), 2, out, words)


def test_damaged_checkpoint(cli, source, tmp_path):
    copy, out = shutil.copytree(source, tmp_path / "source"), tmp_path / "run"
    best = read_record(copy / "record.json")["best_step"]
    file = max((copy / f"checkpoints/{best}").rglob("d/*"), key=lambda path: path.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)
    words = f"checkpoint {copy}/checkpoints/{best} is damaged"
    refused(cli(*SMOKE, "--init-from", copy, "--out", out), 1, out, words)


def test_resume_tells_checkpoints_by_contents(cli, source, tuned, tmp_path):
    again = (*PERFORMER, "--out", tuned[0], "--resume")
    moved = shutil.copytree(source, tmp_path / "moved")
    assert cli(*again, "--init-from", moved)[0] == 0
    best = read_record(source / "record.json")["best_step"]
    (other,) = {16, 24} - {best}
    for more in ((), ("--init-from", source / f"checkpoints/{other}")):
        status, _, err = cli(*again, *more)
        assert status == 2
        assert "holds a run of another config: init_from is " in err


@pytest.mark.slow
def test_kill_and_resume_without_the_source(spawn, source, tmp_path):
    """kill -9 after a first checkpoint; the source is gone by then, and the run is the same."""
    copy, out = shutil.copytree(source, tmp_path / "source"), tmp_path / "run"
    args = (*SMOKE, "--init-from", copy, *OPTIONS, "--out")
    whole = spawn(*args, tmp_path / "undisturbed")
    assert whole.communicate(timeout=PATIENCE)[1] == ""
    process = spawn(*args, out)
    while process.poll() is None and not (out / "checkpoints/0/checksums.json").exists():
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (out / "record.json").exists()
    shutil.rmtree(copy)
    again = spawn(*args, out, "--resume")
    printed, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, printed + err
    assert "going on from step" in printed
    assert lines(out) == lines(tmp_path / "undisturbed")
    for key in ("best_step", "validation", "test", "init_from", "config"):
        one, other = (read_record(x / "record.json")[key] for x in (out, tmp_path / "undisturbed"))
        assert one == other
    states = [restore.load_state(x / "checkpoints/40") for x in (out, tmp_path / "undisturbed")]
    for part in (1, 2):
        for name, value in states[0][part].items():
            np.testing.assert_array_equal(value, states[1][part][name], err_msg=name)


@pytest.mark.slow
def test_a_stop_before_the_first_step_leaves_no_half_of_it(cli, source, tmp_path, monkeypatch):
    """Stopped between validation and test: both are done, and written, on going on."""
    from lra_bench.training.evaluator import Evaluator

    evaluate = Evaluator.evaluate

    def stopped(self, state, split, bar=None):
        self.stop.made = self.stop.made or split == "test"
        return evaluate(self, state, split, bar)

    args = (*PERFORMER, ONCE, "--init-from", source, "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", stopped)
        status, printed, _ = cli(*args)
    assert status == 1
    assert "stopped at step 0" in printed
    assert cli(*args, "--resume")[0] == 0
    assert [x[1] for x in lines(tmp_path / "run") if x[0] == 0] == ["validation", "test"]


def make(attention, accuracy, init_from=None):
    settings = make_settings("listops", attention, "mini", 0, (), init_from)
    score = record.Score(accuracy, 1.0, 2000)
    run = record.begin(settings, Chance(0.17))
    return replace(run, status="ok", best_step=7, validation=score, test=score)


def test_fine_tuned_runs_are_rows_of_their_own():
    origins = [Origin("x", "0" * 64, task, "softmax", 9, None) for task in ("listops", "text")]
    runs = [make("performer-softmax", 0.3), make("performer-softmax", 0.4, origins[0])]
    runs.append(make("performer-softmax", 0.5, origins[1]))
    found = {cell.attention: cell.mean for cell in results(runs)}
    assert found == {
        "performer-softmax": 0.3,
        "performer-softmax from softmax": 0.4,
        "performer-softmax from softmax on text": 0.5,
    }
    assert "from: fine-tuned" in render(runs, "markdown", with_published=False)


def test_records_from_before_the_key_are_read(tmp_path):
    old = make("softmax", 0.3).as_dict()
    del old["init_from"]
    path = tmp_path / "record.json"
    path.write_text(json.dumps(old))
    assert record.read(path).init_from is None
