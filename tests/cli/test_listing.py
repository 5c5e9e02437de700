"""lra-bench list settings, and the names that help lists."""

import json

import pytest
from common import refused
from own_files import write_attention, write_task

from lra_bench.cli import common, parser
from lra_bench.cli.settings_list import settings_of
from lra_bench.config import make_settings, presets
from lra_bench.registry import ATTENTIONS, TASKS


def listed(cli, *words):
    status, out, _ = cli("list", "settings", "--json", *words)
    assert status == 0
    return json.loads(out)["settings"]


def test_every_setting_is_listed_with_its_value_in_each_preset(cli):
    rows = listed(cli, "--task", "text", "--attention", "reformer")
    for preset in presets("text"):
        values = make_settings("text", "reformer", preset, 0).as_dict()
        values["attention"] = values["attention_options"]
        for name in ("train", "model", "attention"):
            for key, value in values[name].items():
                shown = rows[f"{name}.{key}"]["presets"][preset]
                assert shown == (str(value).lower() if isinstance(value, bool) else str(value))
    assert rows["data.source"]["presets"]["mini"] == "archive"
    assert rows["train.schedule"]["valid"] == "one of constant, linear, cosine, rsqrt, onecycle"


@pytest.mark.parametrize("task", TASKS.names())
def test_every_setting_of_a_task_has_a_meaning(task):
    assert [x.key for x in settings_of(task, "identity") if not x.meaning] == []


@pytest.mark.parametrize("attention", ATTENTIONS.names())
def test_every_option_of_an_attention_has_a_meaning(attention):
    assert [x.key for x in settings_of("listops", attention) if not x.meaning] == []


def test_the_settings_of_files_of_the_user(cli, tmp_path):
    files = write_task(tmp_path / "my_task.py"), write_attention(tmp_path / "my_attention.py")
    rows = listed(cli, "--task", files[0], "--attention", files[1])
    options = {name for name in rows if name.startswith(("attention.", "data."))}
    assert {"attention.scale", "data.source"} < options
    away = tmp_path / "away.py"
    refused(cli("list", "settings", "--attention", away), 2, str(away))


def test_the_list_for_people(cli):
    status, out, _ = cli("list", "settings")
    assert status == 0
    at = out.splitlines().index("train.num_steps: a whole number from 1 to 2,147,483,647")
    meaning, values = out.splitlines()[at + 1 : at + 3]
    assert meaning == "    number of updates."
    assert "24 (smoke), 600 (mini)" in values
    assert max(map(len, out.splitlines())) <= 100


def test_what_belongs_to_settings_only(cli):
    refused(cli("list", "tasks", "--task", "text"), 2, "--task works with lra-bench list settings")
    refused(cli("list", "settings", "--task", "txt"), 2, "did you mean 'text'")
    refused(cli("list", "setings"), 2, "did you mean 'settings'")


def test_help_lists_every_name():
    assert common.names_in("tasks") == TASKS.names()
    assert common.names_in("attentions") == ATTENTIONS.names()
    assert {*common.PRESETS} == {name for task in TASKS.names() for name in presets(task)}


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_help_says_what_may_be_chosen(cli, command):
    status, out, _ = cli(command, "--help")
    assert status == 0
    words = " ".join(out.split())
    assert all(name in words for name in ("listops", "performer-softmax", "smoke, mini, small"))


def test_the_actions_of_data_have_help_of_their_own():
    data = parser().commands()["data"].commands()
    texts = {name: " ".join(sub.format_help().split()) for name, sub in data.items()}
    assert len({*texts.values()}) == len(texts) == 5
    assert "--out FILE" in texts["show"]
    assert "--out FILE" not in texts["prepare"] + texts["check"]
    assert "lra_release.gz" in texts["prepare"]
    assert "lra_release.gz" not in texts["check"]


def test_lists_and_sources_are_shown_as_they_are_typed(cli):
    words = ("list", "settings", "--task", "protein", "--attention", "identity")
    text = cli(*words)[1]
    assert '["Caenorhabditis", "Drosophila"] (mini)' in text
    assert "data.source: one of fasta" in text
    typed = 'data.held_out=["Caenorhabditis", "Drosophila"]'
    held_out = make_settings("protein", "identity", "smoke", 0, [typed]).data["held_out"]
    assert held_out == ("Caenorhabditis", "Drosophila")
