"""Tables from records: means, spreads, failures, settings kept apart, formats."""

import copy
import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboard_cases import averages, make, of_all_tasks, parsed, right, row, table, the_board
from strategies import json_values

from lra_bench.display.layout import TableLayout
from lra_bench.errors import RunError, UsageError
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result, percent
from lra_bench.leaderboard.tables import render
from lra_bench.records import record
from lra_bench.records.find import collect


def test_mean_and_sd_over_seeds():
    text = table([make(seed=seed, accuracy=a) for seed, a in enumerate((0.40, 0.42, 0.44))])
    assert row(text, "softmax") == ["softmax", "42.0 ± 2.0", "3", "1,000", "1.00", "5.00"]
    assert row(text, "chance")[1] == "17.0"


def test_nothing_has_no_sign():
    assert percent(-0.0, -0.0) == "0.0 ± 0.0"


def test_one_seed_has_no_spread():
    assert row(table([make()]), "softmax")[1:3] == ["40.0", "1"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [("diverged", "diverged"), ("out_of_memory", "out of memory"), ("failed", "failed")],
)
def test_failures_say_why(status, reason):
    text = table([make(), make("linear", status=status)])
    assert row(text, "linear")[1] == f"FAIL ({reason})"


def test_at_chance_is_a_failure():
    """Three standard errors of 2,000 examples at a chance of 17 % are 2.5 percentage points."""
    text = table([make(accuracy=0.194), make("linear", accuracy=0.196)])
    assert row(text, "softmax")[1] == "FAIL (at chance, 19.4%)"
    assert row(text, "linear")[1] == "19.6"
    assert "at chance: a seed not 3 standard errors above" in text


@pytest.mark.parametrize(
    ("accuracies", "shown"),
    [
        ((0.825, 0.194, 0.195), "40.5 ± 36.4 (2 of 3 at chance)"),
        ((0.40, 0.42, 0.194), "33.8 ± 12.5 (1 of 3 at chance)"),
        ((0.190, 0.180, 0.170), "FAIL (at chance, 18.0%)"),
        ((0.190, 0.40, None), "29.5 ± 14.8 (1 of 3 at chance, 1 failed)"),
        ((0.190, 0.170, None), "FAIL (at chance, 18.0%; 1 failed)"),
        ((0.195, 0.196, 0.196), "19.6 ± 0.1 (1 of 3 at chance)"),
    ],
)
def test_each_seed_is_at_chance_or_not(accuracies, shown):
    """Three standard errors above 17 % are 19.52 %; a cell fails if no seed is above."""
    runs = [
        make(seed=seed, status="diverged") if a is None else make(seed=seed, accuracy=a)
        for seed, a in enumerate(accuracies)
    ]
    assert row(table(runs), "softmax")[1] == shown
    (values,) = json.loads(render(parsed(runs), "json", with_published=False))
    assert values["at_chance"] == sum(a is not None and a <= 0.1952 for a in accuracies)


def test_chance_of_a_seed_is_by_its_own_number_of_examples():
    small = make(seed=1, correct=right(0.196, 200))
    assert (
        row(table([make(accuracy=0.196), small]), "softmax")[1] == "19.8 ± 0.3 (1 of 2 at chance)"
    )


def test_seeds_that_failed_are_counted_and_not_averaged():
    text = table([make(seed=0), make(seed=1, accuracy=0.42), make(seed=2, status="diverged")])
    assert row(text, "softmax")[1:3] == ["41.0 ± 1.4 (1 failed)", "3"]


def test_best_first_and_failures_last():
    runs = [make("linear", accuracy=0.3), make("softmax", accuracy=0.4)]
    text = table([make("reformer", status="failed"), *runs])
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert names == ["attention", "softmax", "linear", "reformer", "chance"]


def test_rows_are_in_the_order_of_their_averages_though_some_are_at_chance():
    """The means are 27.75 % and 27.5 %; with chance for 18.5 %, the first would be 27 %."""
    runs = [make(accuracy=0.185), make(accuracy=0.37, task="pathfinder")]
    runs += [
        make("linear", accuracy=a, task=t) for a, t in ((0.27, "listops"), (0.28, "pathfinder"))
    ]
    names = [line.split()[1] for line in table(runs).splitlines() if line.startswith("| ")]
    assert names == ["attention", "softmax", "linear", "chance"]


def test_presets_and_changed_settings_never_share_a_table():
    text = table([
        make(),
        make(preset="small"),
        make(overrides=["train.num_steps=300"]),
    ])  # fmt: skip
    titles = [line for line in text.splitlines() if line.startswith("###")]
    assert titles == [
        "### preset mini",
        "### preset mini (train.num_steps=300)",
        "### preset small",
    ]


@pytest.mark.parametrize("task", ["listops", "image", "pathfinder"])
def test_records_from_before_an_option_stand_beside_new_ones(task):
    """Their data were as the option's default has them."""
    old = make(task=task, seed=1)
    for option in ("brackets", "black"):
        old["config"]["data"].pop(option, None)
    assert list(by_setting(parsed([make(task=task), old]))) == ["mini"]


# The options with which others read the data, and words that a table says of each.
READINGS = [
    ("listops", "data.brackets=dropped", "listops (brackets=dropped): read without brackets"),
    ("image", "data.black=padding", "image (black=padding): black pixels are padding"),
    ("pathfinder", "data.black=padding", "pathfinder (black=padding): black pixels are padding"),
    ("text", "data.validation=paper-compat", "text (validation=paper-compat): validated on its te"),
]


@pytest.mark.parametrize(("task", "option", "words"), READINGS)
def test_data_read_as_others_did_have_a_table_of_their_own_that_says_so(task, option, words):
    runs = [make(task=task), make(task=task, overrides=[option])]
    ours, theirs = table(runs).split("### ")[1:]
    assert (ours.splitlines()[0], theirs.splitlines()[0]) == (
        "preset mini",
        f"preset mini ({option})",
    )
    assert "Not our own protocol" not in ours
    assert f"Not our own protocol: {words}" in theirs
    rows = json.loads(render(parsed(runs), "json", with_published=False))
    assert [row["reading"] for row in rows] == ["", option.removeprefix("data.")]


def test_notes_are_only_on_columns_that_are_shown():
    large = {**make("linear"), "parameters_vs_softmax": 2.0}
    one, five = [make(), large], of_all_tasks()
    few = TableLayout(columns=("seeds",))
    for words, runs in (("Steps/s on ", one), ("(!): over 10 %", one), ("averages are", five)):
        assert words in table(runs)
        assert words not in table(runs, layout=few)


def test_the_caution_of_a_task_stands_below_its_tables_once():
    runs = [make(task=task, seed=seed) for task in ("listops", "pathfinder") for seed in range(2)]
    unknown = make(task="image")
    unknown["task"] = unknown["config"]["task"] = "gone"
    text = table([*runs, unknown])
    assert text.count("listops: a guess that reads only the first operator is right in about") == 1
    assert "pathfinder: " not in text
    assert "gone: " not in text
    assert "first operator" not in table([make(task="pathfinder")])


def test_a_preset_that_reads_data_as_others_did_says_so():
    """Its options are no changes, so the title does not name them."""
    tasks = ("listops", "text", "image", "pathfinder")
    text = table([make(task=task, preset="nystromformer") for task in tasks])
    assert "### preset nystromformer\n" in text
    for _, _, words in READINGS:
        assert words in text


def test_options_of_the_attention_are_a_row_of_their_own():
    text = table([
        make("performer-softmax"),
        make("performer-softmax", overrides=["attention.num_features=64"]),
    ])  # fmt: skip
    assert row(text, "performer-softmax (num_features=64)")
    assert text.count("### ") == 1


def test_markup_in_records_does_no_harm():
    run = {**make(), "attention": "<script>alert(1)</script>"}
    assert "<script>" not in render(parsed([run]), "html", with_published=False)


def test_over_the_parameter_budget_is_flagged():
    heavy = make("linformer")
    heavy["parameters_vs_softmax"] = 1.11
    text = table([heavy, make()])
    assert row(text, "linformer")[4] == "1.11 (!)"
    assert row(text, "softmax")[4] == "1.00"
    assert "over 10 % more parameters" in text


def test_a_run_that_ended_well_goes_before_one_that_failed():
    text = table([make(status="failed"), make(accuracy=0.4)])
    assert row(text, "softmax")[1:3] == ["40.0", "1"]


def test_other_data_are_another_table():
    other = make(seed=1)
    other["data"] = {"sha256": "fedcba9876543210"}
    titles = [line for line in table([make(), other]).splitlines() if line.startswith("###")]
    assert titles == ["### preset mini, data 01234567", "### preset mini, data fedcba98"]


def test_the_source_of_data_is_no_setting():
    """ListOps of the release stands beside the other tasks, which have one source."""
    runs = of_all_tasks()
    runs[0] = make(overrides=["data.source=release"], accuracy=0.7)
    assert averages(the_board(runs))["softmax"][0] == pytest.approx(0.72)
    assert list(by_setting(parsed(runs))) == ["mini"]


def _on_a_cpu(*words, **changes):
    environment = {"device_kind": "cpu", "host_cpu": "EPYC", "device_count": 1}
    return {**make(*words, **changes), "environment": environment}


def test_speed_names_its_device_and_is_left_out_if_seeds_have_several():
    assert "Steps/s on 4 x TPU v5." in table([make()])
    text = table([make(), _on_a_cpu(seed=1)])
    assert row(text, "softmax")[5] == ""
    assert "No steps/s are given where the seeds of a row ran on different devices." in text
    text = table([make(), _on_a_cpu(seed=1), make("linear")])
    assert "Steps/s on 4 x TPU v5. No steps/s are given" in text


def test_speeds_of_different_devices_name_them_in_the_cells():
    text = table([make(), _on_a_cpu("linear")])
    assert row(text, "softmax")[5].endswith(" on 4 x TPU v5")
    assert row(text, "linear")[5].endswith(" on 1 x EPYC")
    assert "Steps/s" not in text


def test_without_a_speed_there_is_no_note_on_devices():
    text = table([{**make(status="failed"), "steps_per_second": None}])
    assert "FAIL (failed)" in text
    assert "teps/s o" not in text


def test_a_row_with_fewer_tasks_is_below_those_with_more():
    """Its mean is over other tasks, here the easiest."""
    runs = [make(task=task, accuracy=0.5) for task in ("listops", "pathfinder")]
    board = the_board([*runs, make("linear", task="pathfinder", accuracy=0.9)])
    assert [each.attention for each in board.rows] == ["softmax", "linear"]


def test_the_same_record_given_twice_counts_once(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/record.json").write_text(json.dumps(make()))
    assert len(collect([tmp_path, tmp_path / "a"])) == 1


def test_a_second_record_of_a_seed_is_named_and_left_out(capsys):
    text = table([make(accuracy=0.4), make(accuracy=0.5)])
    assert row(text, "softmax")[1:3] == ["40.0", "1"]
    assert "a second record of softmax on listops, seed 0" in capsys.readouterr().err


def test_csv_is_for_programs(tmp_path):
    runs = [make("performer-softmax"), make("performer-softmax", seed=1)]
    text = render(parsed(runs), "csv", with_published=True)
    (tmp_path / "t.csv").write_text(text)
    frame = pd.read_csv(tmp_path / "t.csv")
    here = frame[frame.source == "here"]
    assert here.accuracy_mean.tolist() == [0.4]
    assert here.seeds.tolist() == [2]
    paper = frame[(frame.source == "LRA paper") & (frame.attention == "Performer")]
    assert paper.accuracy_mean.tolist() == [0.1801]
    there = frame[frame.source != "here"]
    assert {*there.task} == {"listops"}, "tasks of the records alone"
    assert "Reformer" not in {*there.attention}, "attentions of the records alone"


def test_json_is_for_programs_too():
    rows = json.loads(render(parsed([make()]), "json", with_published=False))
    assert rows[0]["accuracy_mean"] == 0.4
    assert rows[0]["accuracy_sd"] is rows[0]["fail"] is None


def test_latex_is_escaped():
    runs = parsed([make(overrides=["train.num_steps=300"])])
    text = render(runs, "latex", with_published=False)
    assert r"listops \%" in text
    assert r"train.num\_steps=300" in text
    assert text.count(r"\begin") == text.count(r"\end") == 4


def test_unreadable_records_are_named_and_skipped(tmp_path, capsys):
    for name, content in {
        "good": json.dumps(make()),
        "torn": json.dumps(make())[:-30],
        "foreign": '{"model": "resnet"}',
        "future": json.dumps({**make(), "schema": 99}),
        "partial": json.dumps({k: v for k, v in make().items() if k != "test"}),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(content)
    assert len(collect([tmp_path])) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 4
    for words in (
        "torn/record.json: unreadable",
        "not a run record",
        "schema 99",
        "incomplete: test",
    ):
        assert words in err


def test_a_folder_without_records_is_reported(tmp_path):
    with pytest.raises(UsageError, match="no records in"):
        collect([tmp_path])


@given(st.sampled_from(sorted(make())), json_values, st.booleans())
def test_any_record_is_shown_or_refused(tmp_path_factory, key, value, remove):
    """Any value of any key gives a record that can be shown, or a RunError."""
    run = copy.deepcopy(make())
    run[key] = value
    if remove:
        del run[key]
    file = tmp_path_factory.mktemp("r") / "record.json"
    file.write_text(json.dumps(run))
    try:
        parsed_run = record.read(file)
    except RunError:
        return
    render([parsed_run], "markdown", with_published=False)


@given(st.lists(st.floats(0.3, 1.0), min_size=2, max_size=6))
def test_mean_and_sd_are_those_of_statistics(values):
    runs = [make(seed=seed, accuracy=value) for seed, value in enumerate(values)]
    result = Result("a", "listops", tuple(parsed(runs)))
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    assert result.mean == pytest.approx(mean)
    assert result.sd == pytest.approx(sd, abs=1e-9)


def test_placement_does_not_set_runs_of_an_unknown_task_apart():
    """As it does not for tasks that are known here."""
    runs = [make(seed=seed) for seed in range(3)]
    for run, devices in zip(runs, (0, 8, 8), strict=True):
        run["task"] = "theirs"
        run["config"]["train"]["num_devices"] = devices
    assert len(by_setting(parsed(runs))) == 1


def test_a_ratio_barely_over_the_budget_shows_it():
    run = make("linear")
    run["parameters_vs_softmax"] = 1.1004
    assert "1.100 (!)" in row(table([make(), run]), "linear")
