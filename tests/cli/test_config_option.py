"""--config: settings from a file of one's own, whose hash is in the record."""

import hashlib
from dataclasses import replace

import pytest
from common import refused

from lra_bench.cli import config_file
from lra_bench.config import make_settings
from lra_bench.errors import RunError
from lra_bench.files.json_files import write_json
from lra_bench.records.run_folder import CONFIG, RunFolder
from lra_bench.settings import ConfigFile, from_dict
from lra_bench.sweep.plan import Choice, jobs
from lra_bench.training.restore import load_settings

YAML = """\
# my own preset
train:
  num_steps: 30
  learning_rate: 1e-3   # a string to YAML 1.1
model: {dropout: 0.2, positions: rotary}
attention:
  performer-softmax: {num_features: 64, renormalize: false}
"""
PYTHON = """\
def get_config():
    return {"train": {"num_steps": 30}, "data": {"min_length": 10}}
"""


@pytest.fixture
def planned(cli, monkeypatch):
    """The settings that `run --dry-run` would show."""

    def settings(*words):
        seen = []

        def show(args, settings, *others):
            seen.append(settings)
            return 0

        with monkeypatch.context() as patch:
            patch.setattr("lra_bench.cli.run_plan.show", show)
            result = cli("run", "--preset", "smoke", "--dry-run", *words)
        assert result == (0, "", "")
        return seen[0]

    return settings


def write(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_yaml(planned, tmp_path):
    path = write(tmp_path, YAML)
    settings = planned("--config", path)
    assert (settings.train.num_steps, settings.train.learning_rate) == (30, 1e-3)
    assert (settings.model.dropout, settings.model.positions) == (0.2, "rotary")
    assert settings.attention_options["num_features"] == 64
    sha256 = hashlib.sha256(YAML.encode()).hexdigest()
    assert settings.config_file == ConfigFile(str(path), sha256)
    assert settings.as_dict()["config_file"]["sha256"] == sha256
    assert planned("--config", path, "--attention", "linear").attention_options == {"causal": False}


def test_python(planned, tmp_path):
    settings = planned("--config", write(tmp_path, PYTHON, "mine.py"))
    assert (settings.train.num_steps, settings.data["min_length"]) == (30, 10)
    text = (
        "from ml_collections import ConfigDict\nCONFIG = ConfigDict({'model': {'num_layers': 3}})\n"
    )
    assert planned("--config", write(tmp_path, text, "dict.py")).model.num_layers == 3


def test_limit_and_set_win(planned, tmp_path):
    path = write(tmp_path, YAML)
    assert planned("--config", path, "--limit", "5").train.num_steps == 5
    assert planned("--config", path, "--limit", "500").train.num_steps == 30
    assert planned("--config", path, "--set", "train.num_steps=7").train.num_steps == 7


def test_the_file_does_not_decide_which_run_a_folder_holds(tmp_path):
    settings = make_settings("listops", "linear", "smoke", 0)
    from_file = replace(settings, config_file=ConfigFile("mine.yaml", "0" * 64))
    assert from_dict(from_file.as_dict()) == from_file
    assert "config_file" not in settings.as_dict(), "as in records of older versions"
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.start(from_file)
    folder.check_owner(settings)
    folder.check_owner(replace(settings, config_file=ConfigFile("other.yaml", "1" * 64)))


def test_a_sweep_takes_it_and_passes_it_on(tmp_path, monkeypatch, cli):
    seen = []
    monkeypatch.setattr(
        "lra_bench.sweep.sweep.execute", lambda request, _: seen.append(request) or 0
    )
    path = write(tmp_path, YAML)
    words = ("--attentions", "linear,performer-softmax", "--tasks", "listops", "--out", "x")
    assert cli("sweep", *words, "--preset", "smoke", "--config", path, "--limit", "9")[0] == 0
    (request,) = seen
    assert request.config_file == config_file.read(path).file
    by_name = {job.attention: job.settings() for job in jobs(request.choice)}
    assert by_name["linear"].train.num_steps == 9
    assert by_name["performer-softmax"].attention_options["num_features"] == 64


def test_old_choices_have_no_file():
    assert jobs(Choice(("listops",), ("linear",), (0,), "smoke"))[0].overrides == ()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "train:\n  num_step: 3\n", ("line 2: unknown key 'train.num_step'",)),
        ("a.yaml", "train:\n  num_steps: many\n", ("line 2: train.num_steps", "must be a whole")),
        ("a.yaml", "model: {heads: 3,\n dropout: 9}\n", ("line 1: unknown key 'model.heads'",)),
        ("a.yaml", "model: {dropout: 0.1,\n num_heads: no}\n", ("line 2: model.num_heads",)),
        ("a.yaml", "attention:\n  linear:\n    phi: 3\n", ("line 3: unknown key 'attention.phi'",)),
        ("a.py", "CONFIG = {'train': {'num_step': 3}}\n", ("a.py: unknown key 'train.num_step'",)),
        ("a.yaml", "train: 3\n", ("line 1", "train is 3: must be a group of settings")),
        ("a.yaml", "trian:\n  num_steps: 3\n", ("line 1", "did you mean 'train'")),
        ("a.yaml", "train:\n  num_steps: 3\n  num_steps: 4\n", ("line 3", "is there twice")),
        ("a.yaml", "train: [\n", ("line 2",)),
        ("a.yaml", "train:\n  num_steps: {a: 1}\n", ("line 2", "must be a number, a word")),
        ("a.yaml", "", ("must be a group of settings",)),
        ("a.yaml", "train: !!python/object:os.system {}\n", ("line 1", "could not determine")),
        (
            "a.yaml",
            "attention:\n  line_ar:\n    phi: 3\n",
            ("line 2: unknown attention 'line_ar'",),
        ),
        ("a.yaml", "attention:\n  fnet:\n    phi: 3\n", ("line 3: unknown key 'attention.phi'",)),
        ("a.yaml", "train:\n  num_steps: 2020-13-01\n", ("month must be in 1..12",)),
        ("a.yaml", "train:\n  num_steps: !!int abc\n", ("invalid literal for int()",)),
        ("a.yaml", "train:\n  num_steps: !!bool abc\n", ("a.yaml: ",)),
        ("a.yaml", "train: &t\n  num_steps: *t\n", ("line 2: is nested too deeply",)),
        ("a.yaml", f"train: {'[' * 3000}{']' * 3000}\n", ("is nested too deeply",)),
        ("a.py", "1 / 0\n", ("a.py, line 1", "ZeroDivisionError")),
        ("a.py", "x = 1\n", ("must have a function get_config() or a dictionary CONFIG",)),
        ("a.py", "CONFIG = 3\n", ("the file is 3: must be a group",)),
        ("a.toml", "", ("must end in .yaml, .yml or .py",)),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line(cli, tmp_path, name, text, words):
    path = write(tmp_path, text, name)
    usual = ("--preset", "smoke", "--dry-run", "--config", path)
    refused(cli("run", "--attention", "linear", *usual), 2, f"--config {path}", *words)
    sweep = ("sweep", "--tasks", "listops", "--attentions", "linear,fnet", "--out", tmp_path / "x")
    refused(cli(*sweep, *usual), 2, f"--config {path}", *words)


def test_a_file_is_not_blamed_for_the_rest_of_the_command(cli, tmp_path):
    path = write(tmp_path, "train: {num_steps: 9}\n")
    words = ("--preset", "smoke", "--set", "train.batch=3", "--dry-run", "--config", path)
    for command in (("run",), ("sweep", "--out", tmp_path / "x")):
        status, _, err = cli(*command, *words)
        assert status == 2
        assert err.startswith("lra-bench: unknown --set key 'train.batch'")


def test_a_file_that_is_not_there(cli, tmp_path):
    refused(cli("run", "--config", tmp_path / "no.yaml"), 2, "--config", "no such file")


def test_settings_that_came_from_a_file_are_checked_when_they_are_read_again(tmp_path):
    usual = make_settings("listops", "linear", "smoke", 0)
    settings = replace(usual, attention="no-such", config_file=ConfigFile("my.yaml", "0" * 64))
    write_json(tmp_path / CONFIG, settings.as_dict())
    with pytest.raises(RunError, match=r"config.json can't be read .*no-such"):
        load_settings(tmp_path)
