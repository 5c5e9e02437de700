"""A config.json that holds anything at all: one line that says what is wrong, never a traceback."""

import dataclasses
import json
import os

import pytest
from common import refused
from hostile_configs import TEXTS, hostile

from lra_bench.config import make_settings
from lra_bench.errors import RunError, UsageError
from lra_bench.records.run_folder import RunFolder
from lra_bench.settings import from_dict
from lra_bench.training.restore import load_settings

SETTINGS = make_settings("listops", "performer-softmax", "smoke", 0)
ORIGIN = {
    "path": "runs/a", "sha256": "0" * 64, "task": "listops", "attention": "softmax", "step": 3,
    "test_accuracy": 0.5,
}  # fmt: skip
CONFIG = {**json.loads(json.dumps(SETTINGS.as_dict())), "init_from": ORIGIN}


@pytest.fixture
def run(tmp_path):
    """The folder of a run, with a checkpoint of no contents."""
    folder = tmp_path / "run"
    (folder / "checkpoints" / "3").mkdir(parents=True)
    return folder


def write(run, text):
    (run / "config.json").write_text(text, encoding="utf-8", errors="surrogatepass")


@pytest.mark.parametrize("tries", [400, pytest.param(5_000, marks=pytest.mark.slow)])
def test_readers_refuse_or_read_rightly(tries, run):
    """A config that is accepted holds valid settings, which are written as they were read."""
    accepted = 0
    for text in hostile(CONFIG, tries):
        write(run, text)
        for read in (check_owner, lambda folder: RunFolder(folder).origin(folder)):
            attempt(read, run, text)
        settings = attempt(load_settings, run, text)
        if settings is not None:
            accepted += 1
            assert from_dict(json.loads(json.dumps(settings.as_dict()))) == settings, text
    assert 0 < accepted < tries / 4


def attempt(read, folder, text):
    """What it returns; None if it refuses the config, in one line."""
    try:
        return read(folder)
    except (RunError, UsageError) as error:
        message = str(error)
    assert message.isprintable(), text
    assert len(message) < 1_000, text
    return None


def check_owner(folder):
    RunFolder(folder).check_owner(SETTINGS)


@pytest.mark.ci
@pytest.mark.parametrize("tries", [40, pytest.param(1_200, marks=pytest.mark.slow)])
def test_commands_say_it_in_one_line(tries, run, cli, tmp_path):
    """These read the settings of another run, and end at its checkpoint if they are valid."""
    checkpoint = run / "checkpoints" / "3"
    for text in hostile(CONFIG, tries, seed=1):
        write(run, text)
        start = ("run", "--preset", "smoke", "--out", tmp_path / "other", "--init-from", checkpoint)
        for command in (start, ("analyze", "matrix", checkpoint, "--out", tmp_path / "a")):
            status, out, err = cli(*command)
            refused((min(status, 1), out, err), 1)


@pytest.mark.parametrize("text", TEXTS[:6])
def test_a_run_does_not_go_on_where_there_is_no_config(text, run, cli):
    write(run, text)
    refused(
        cli("run", "--preset", "smoke", "--out", run, "--resume"), 1, "config.json can't be read"
    )


def test_a_config_that_is_no_file_is_named(run, cli):
    os.mkfifo(run / "config.json")
    refused(
        cli("run", "--preset", "smoke", "--out", run, "--resume"), 1, "config.json can't be read"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": True}, "seed=True: must be a whole number from 0 to 4,294,967,295"),
        ({"seed": 10**400}, "seed=1000"),
        ({"model": []}, "model=[]: must be a group of settings"),
        ({"task": 3}, "task=3: must be a word"),
        ({"task": "lisstops"}, "did you mean 'listops'?"),
        ({"attention": "perfomer"}, "did you mean 'performer-"),
        ({"data_source": "web"}, "unknown data source of listops 'web'"),
        ({"data": {"max_length": "long"}}, "data.max_length='long': must be a whole number"),
        ({"data": {"length": 3}}, "data.length is unknown"),
        ({"attention_options": {"causal": 1}}, "attention.causal=1: must be true or false"),
        ({"optimizer": {}}, "optimizer is unknown: of another version of lra-bench"),
        ({"init_from": {**ORIGIN, "test_accuracy": 7}}, "init_from.test_accuracy=7: must be a num"),
    ],
)
def test_the_message_names_the_key(changes, message, run):
    write(run, json.dumps({**CONFIG, **changes}))
    with pytest.raises(RunError) as error:
        load_settings(run)
    assert "config.json can't be read as the config of a run: " in str(error.value)
    assert message in str(error.value)


def test_a_config_without_newer_options_is_read(run):
    """Options that an older version lacked have their usual values; `init_from` too."""
    options = {
        name: value for name, value in CONFIG["attention_options"].items() if name != "causal"
    }
    config = {name: value for name, value in CONFIG.items() if name != "init_from"}
    write(run, json.dumps({**config, "attention_options": options}))
    assert load_settings(run).attention_options == options


def test_lists_are_written_as_they_are_read():
    """The code of tasks and attentions has tuples, JSON has lists; the two are never compared."""
    data = {**SETTINGS.data, "sizes": (1, 2, ("a",))}
    settings = dataclasses.replace(SETTINGS, data=data)
    values = json.loads(json.dumps(settings.as_dict()))
    assert values == settings.as_dict()
    assert from_dict(values) == settings
