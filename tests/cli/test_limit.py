"""--limit: a quick look at any preset, which nobody takes for the preset itself."""

import numpy as np
import pytest
from common import SMOKE, read_record, refused
from efficiency_cases import line

from lra_bench.config import limited, make_settings
from lra_bench.efficiency.records import parse
from lra_bench.records.departures import changes
from lra_bench.settings import from_dict
from lra_bench.sweep import estimate
from lra_bench.sweep.plan import Choice, jobs


@pytest.fixture(scope="module")
def cut(tmp_path_factory, data_dir):
    """The folder of a run that --limit cut short."""
    from lra_bench.cli import main

    out = tmp_path_factory.mktemp("cut") / "run"
    words = (*SMOKE, "--attention", "linear", "--limit", "5", "--out", out, "--data-dir", data_dir)
    assert main([*map(str, words)]) == 0
    return out


@pytest.mark.ci
def test_it_is_short_and_marked_in_the_record(cut, cli):
    record = read_record(cut / "record.json")
    assert (record["status"], record["steps"]) == ("ok", 5)
    assert record["test"]["examples"] == record["validation"]["examples"] == 5
    assert record["config"]["train"]["eval_examples"] == 5
    marks = ["train.eval_every=5", "train.eval_examples=5", "train.num_steps=5"]
    assert [*map(str, changes(record["config"]))] == marks
    out = cli("table", cut)[1]
    assert f"preset smoke ({', '.join(marks)})" in out
    assert cli("submit-check", cut)[0] == 1


def test_the_examples_are_spread_over_the_split(data_dir):
    from lra_bench.data.store import Split, Store
    from lra_bench.training.evaluator import Evaluator

    settings = make_settings("listops", "linear", "smoke", 0, ["train.eval_examples=3"]).train
    tokens, labels = np.zeros((9, 4), np.uint8), np.zeros(9, np.int32)
    store = Store({"test": Split(tokens, labels)}, None)
    evaluator = Evaluator(None, store, settings, None)
    assert evaluator.count("test") == 3
    assert evaluator._rows("test").tolist() == [0, 4, 8]


def test_it_cuts_no_preset_that_is_shorter(data_dir):
    assert limited("listops", "smoke", None) == ()
    assert limited("listops", "smoke", 1_000) == ("train.eval_examples=1000",)
    assert "train.select_after=7" in limited("listops", "skyformer", 7)
    settings = make_settings("listops", "softmax", "lra", 0, limited("listops", "lra", 7))
    assert settings.train.num_steps == settings.train.select_after == 7


def test_set_wins(cli, monkeypatch):
    seen = []

    def show(args, settings, *others):
        seen.append(settings.train)
        return 0

    monkeypatch.setattr("lra_bench.cli.run_plan.show", show)
    assert cli(*SMOKE, "--limit", "9", "--set", "train.num_steps=12", "--dry-run")[0] == 0
    assert (seen[0].num_steps, seen[0].eval_examples) == (12, 9)


def test_each_run_of_a_sweep_is_cut():
    planned = jobs(Choice(("listops", "text"), ("linear",), (0,), "paper", limit=10))
    for job in planned:
        train = job.settings().train
        assert (train.num_steps, train.eval_every, train.eval_examples) == (10, 10, 10)


def test_old_settings_evaluate_all():
    values = make_settings("listops", "linear", "mini", 0).as_dict()
    del values["train"]["eval_examples"]
    assert from_dict(values).train.eval_examples == 0


def test_a_limit_that_is_none(cli):
    refused(cli(*SMOKE, "--limit", "0"), 2, "--limit: '0' is not a whole number from 1")


def test_an_estimate_counts_the_examples_that_are_evaluated():
    """A step of 0.5 s for 16 examples; evaluating an example takes a third of that of training."""
    step = parse(line("linear", seconds=1.0, memory=None))
    sizes = {"train": 512, "validation": 1_600, "test": 3_200}
    few, every = (
        make_settings("listops", "linear", "smoke", 0, ["train.num_steps=1", *words])
        for words in (["train.eval_examples=16"], [])
    )
    seconds = [estimate._extrapolate(each, sizes, step).seconds for each in (few, every)]
    assert seconds[1] - seconds[0] == pytest.approx(0.5 / 3 * (100 + 200 - 2))
