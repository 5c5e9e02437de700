"""The plan of a sweep: which runs it has, and in which order."""

import re
from dataclasses import replace

import pytest

from lra_bench.config import make_settings
from lra_bench.errors import UsageError
from lra_bench.sweep import plan

pytestmark = pytest.mark.ci


def choice(**changes):
    usual = {
        "tasks": ("listops",),
        "attentions": ("linear", "performer-relu"),
        "seeds": (0, 1),
        "preset": "smoke",
    }
    return plan.Choice(**{**usual, **changes})


def names(**changes):
    return [planned.name for planned in plan.jobs(choice(**changes))]


def test_runs_of_the_first_seed_come_first():
    assert names() == [
        "listops-linear-seed0",
        "listops-performer-relu-seed0",
        "listops-linear-seed1",
        "listops-performer-relu-seed1",
    ]


def test_all_stands_for_every_registered_name():
    planned = plan.jobs(choice(tasks=("all",), attentions=("all",), seeds=(0,)))
    assert {each.task for each in planned} == set(plan.TASKS.names())
    assert {each.attention for each in planned} == set(plan.ATTENTIONS.names())
    left_out = plan.attentions_not_causal(choice(tasks=("all",), attentions=("all",)))
    wrong = sum(map(len, left_out.values()))
    assert len(planned) == len(plan.TASKS.names()) * len(plan.ATTENTIONS.names()) - wrong


def test_next_tokens_are_predicted_by_attentions_that_can_be_causal():
    """ "all" leaves the others out; those that are named are refused, or predict masked tokens."""
    chosen = {"tasks": ("listops", "text-lm"), "seeds": (0,)}
    planned = plan.jobs(choice(**chosen, attentions=("all",)))
    able = {name for name in plan.ATTENTIONS.names() if plan.ATTENTIONS.get(name).supports_causal}
    assert {each.attention for each in planned if each.task == "text-lm"} == able | {"identity"}
    assert (
        "linformer" in plan.attentions_not_causal(choice(**chosen, attentions=("all",)))["text-lm"]
    )
    named = choice(tasks=("text-lm",), attentions=("linformer", "linear"))
    assert not plan.attentions_not_causal(named)
    with pytest.raises(UsageError, match="linformer can't be causal; these can"):
        plan.jobs(named)
    masked = replace(named, overrides=("data.objective=masked",))
    assert len(plan.jobs(masked)) == 4
    every = replace(masked, attentions=("all",), seeds=(0,))
    assert len(plan.jobs(every)) == len(plan.ATTENTIONS.names())


def test_options_apply_where_they_exist_and_a_grid_makes_a_run_of_each_value():
    grid = (("attention.num_features", ("8", "16")), ("train.learning_rate", ("1e-3",)))
    assert names(seeds=(0,), grid=grid) == [
        "listops-linear-train.learning_rate=1e-3-seed0",
        "listops-performer-relu-attention.num_features=8-train.learning_rate=1e-3-seed0",
        "listops-performer-relu-attention.num_features=16-train.learning_rate=1e-3-seed0",
    ]
    planned = plan.jobs(choice(seeds=(0,), grid=grid))
    assert [each.settings().attention_options.get("num_features") for each in planned] == [
        None,
        8,
        16,
    ]


def test_values_that_would_share_a_folder_are_refused():
    with pytest.raises(UsageError, match="same folder"):
        plan.jobs(choice(grid=(("train.learning_rate", ("1 2", "1_2")),)))


@pytest.mark.parametrize(
    ("grid", "overrides", "words"),
    [
        ("train.num_steps=4,8 train.num_steps=5", (), "train.num_steps: is there twice"),
        ("train.num_steps=4,4.0", (), "steps=4.0 would be the same run"),
        ("train.num_steps=4,8", ("train.num_steps=5",), "--set train.num_steps is there too"),
        ("seed=1,2", (), "--grid seed: is an argument of its own"),
        ("train.num_stepz=1,2", (), "unknown --grid key 'train.num_stepz'"),
        ("train.num_steps=4,many", (), "--grid train.num_steps='many': must be a whole"),
    ],
)
def test_a_grid_that_would_not_do_what_it_says_is_refused(grid, overrides, words):
    axes = tuple(
        (key, tuple(values.split(","))) for key, values in (x.split("=") for x in grid.split())
    )
    with pytest.raises(UsageError, match=re.escape(words)):
        plan.jobs(choice(grid=axes, overrides=overrides))


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        (("relu",), ["listops-performer-relu-seed0", "listops-performer-relu-seed1"]),
        (("*-seed1",), ["listops-linear-seed1", "listops-performer-relu-seed1"]),
        (("linear-seed0", "relu-seed1"), ["listops-linear-seed0", "listops-performer-relu-seed1"]),
    ],
)
def test_filters(filters, kept):
    assert names(filters=filters) == kept


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tasks": ("listop",)}, "did you mean 'listops'"),
        ({"attentions": ("liner",)}, "did you mean 'linear'"),
        ({"preset": "smok"}, "did you mean 'smoke'"),
        ({"overrides": ("train.num_step=3",)}, "did you mean 'train.num_steps'"),
        ({"overrides": ("attention.num_hashes=3",)}, "unknown --set key"),
        ({"grid": (("train.num_steps", ("3", "x")),)}, "must be a whole number"),
        ({"filters": ("text",)}, "matches none of the 4 runs"),
    ],
)
def test_a_wrong_plan_is_refused(changes, says):
    with pytest.raises(UsageError, match=says):
        plan.jobs(choice(**changes))


def test_the_arguments_of_run_give_the_same_settings():
    named = choice(attentions=("linear",), seeds=(0,), overrides=("train.num_steps=3",))
    (run,) = plan.jobs(named)
    words = run.arguments()
    assert words == [
        *("--task", "listops", "--attention", "linear", "--preset", "smoke", "--seed", "0"),
        *("--set", "train.num_steps=3"),
    ]
    assert run.settings() == make_settings("listops", "linear", "smoke", 0, ["train.num_steps=3"])
