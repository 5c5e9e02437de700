"""The rules of a leaderboard: each one is broken once."""

import json

import numpy as np
import pytest
from leaderboard_cases import make, of_version, parsed, right

from lra_bench.leaderboard import submission
from lra_bench.leaderboard.submission import TASKS


def whole(attention="softmax", preset="mini"):
    """Return the records of a row that breaks no rule."""
    runs = []
    for task in TASKS:
        for seed in (0, 1, 2):
            run = make(attention, seed, task=task, preset=preset, correct=right(0.7))
            run["data"] = {"sha256": task, "official": True, "source": "download"}
            run["environment"] = {"git_commit": "a" * 40, "versions": {"lra-bench": "0.1.0"}}
            runs.append(run)
    return runs


def broken(runs):
    return [check.rule for check in submission.check(parsed(runs)) if check.faults]


def test_a_row_that_breaks_no_rule():
    assert broken(whole()) == []


def edit(path, value):
    def change(runs):
        *way, last = path
        at = runs[4]
        for key in way:
            at = at[key]
        at[last] = value

    return change


def overridden(*words):
    def change(runs):
        runs[1] = {**runs[1], "config": make(task="listops", overrides=words)["config"]}

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda runs: runs[0]["test"].pop("correct"), "which test examples are right"),
        (lambda runs: runs.pop(), "at least 3 seeds"),
        (edit(["status"], "failed"), "no run failed"),
        (edit(["parameters_vs_softmax"], 1.11), "at most 1.10"),
        (edit(["data", "official"], False), "the published data"),
        (edit(["data", "sha256"], "other"), "the same data"),
        (edit(["environment", "git_commit"], "a" * 40 + "-dirty"), "a clean checkout"),
        (edit(["environment"], None), "a clean checkout"),
        (overridden("train.num_steps=7"), "the preset's settings"),
        (edit(["init_from"], {"attention": "linear", "task": "text"}), "from scratch"),
    ],
)
def test_each_rule(change, rule):
    runs = whole()
    change(runs)
    (broken_rule,) = broken(runs)
    assert rule in broken_rule


@pytest.mark.parametrize("word", ["train.accumulate=2", "model.dtype=bfloat16", "data.source=x"])
def test_settings_that_a_row_may_choose(word):
    runs = whole()
    if word.startswith("data"):
        runs[1]["config"]["data_source"] = "x"
    else:
        overridden(word)(runs)
    assert broken(runs) == []


def test_the_command(cli, tmp_path):
    runs = [*whole(), make("linear", correct=np.ones(9, bool))]
    for index, run in enumerate(runs):
        (tmp_path / f"{index}").mkdir()
        (tmp_path / f"{index}" / "record.json").write_text(json.dumps(run))
    status, out, err = cli("submit-check", str(tmp_path))
    assert (status, err) == (1, "")
    assert "softmax, preset mini (15 records): may stand" in out
    assert "linear, preset mini (1 records): 3 of 9 rules broken" in out
    assert "no run on text" in out
    assert "and 2 more; --all shows them" in out
    assert "and 2 more" not in cli("submit-check", str(tmp_path), "--all")[1]


def test_versions_of_a_file_are_rows_of_their_own():
    runs = [make("softmax", seed) for seed in range(3)]
    for seed, run in enumerate(runs):
        run["config"]["attention_file"] = of_version(seed // 2)
    names = [*submission.rows(parsed(runs))]
    assert names == ["softmax @00000000, preset mini", "softmax @11111111, preset mini"]
