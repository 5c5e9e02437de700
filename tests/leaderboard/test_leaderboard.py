"""Tables from records: means, spreads, failures, settings kept apart, published rows."""

import copy
import json
import math
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaderboard_cases import make, parsed, right
from strategies import json_values

from lra_bench import published
from lra_bench.errors import RunError, UsageError
from lra_bench.leaderboard import published_table
from lra_bench.leaderboard.board import ORDER, board
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.results import Result, percent
from lra_bench.leaderboard.tables import render
from lra_bench.records import record
from lra_bench.records.find import collect


def table(records, **options):
    return render(parsed(records), "markdown", **{"with_published": False, **options})


def the_board(runs):
    return board(parsed(runs))


def row(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


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


def of_all_tasks(attention="softmax", tasks=ORDER[:5], **others):
    """Return a run of each task, with accuracies 0.70, 0.71, ... unless given."""
    return [
        make(attention, task=task, **{"accuracy": 0.7 + index / 100, **others})
        for index, task in enumerate(tasks)
    ]


def averages(leaderboard):
    """Return the averages over five and over six tasks of each attention; None without one."""
    return {
        row.attention: tuple(mean and round(mean.mean, 9) for mean in map(row.average, (5, 6)))
        for row in leaderboard.rows
    }


def test_averages_are_over_five_and_over_six_tasks():
    runs = of_all_tasks(preset="paper") + of_all_tasks(
        "linear", ORDER, accuracy=0.9, preset="paper"
    )
    leaderboard = the_board(runs + of_all_tasks("reformer", ORDER[:4], preset="paper"))
    expected = {"softmax": (0.72, None), "linear": (0.9, 0.9), "reformer": (None, None)}
    assert averages(leaderboard) == expected
    assert leaderboard.tasks == ORDER


def test_a_run_without_a_result_leaves_no_average_and_one_at_chance_counts():
    runs = of_all_tasks()
    runs[0]["test"]["accuracy"] = 0.17
    assert averages(the_board(runs))["softmax"][0] == pytest.approx(
        (0.17 + 0.71 + 0.72 + 0.73 + 0.74) / 5
    )
    runs[0].update(status="diverged", test=None)
    assert averages(the_board(runs))["softmax"][0] is None


def test_the_spread_of_an_average_is_that_over_seeds():
    runs = of_all_tasks(seed=0, accuracy=0.5) + of_all_tasks(seed=1, accuracy=0.6)
    assert "55.0 ± 7.1" in row(table(runs), "softmax")


def test_averages_are_never_of_rounded_figures():
    """Accuracies of 50.04 % and their average are shown as 50.0; those of 50.06 % as 50.1."""
    runs = of_all_tasks(accuracy=0.5004)
    runs += of_all_tasks("linear", accuracy=0.5006)
    text = table(runs)
    assert row(text, "softmax")[1:7] == ["50.0"] * 6
    assert row(text, "linear")[1:7] == ["50.1"] * 6


def test_the_averages_of_the_papers_table_1_come_out():
    """All agree except that of Sinkhorn, which is printed as 51.39."""
    rows = [row for row in published.results() if row.source == "LRA paper"]
    runs = []
    for index, published_row in enumerate(rows):
        for task, figure in published_row.accuracy.items():
            run = make("identity", accuracy=figure / 100, task=task)
            runs.append({**run, "attention": f"m{index}"})
    means = averages(the_board(runs))
    assert len(means) == 11
    wrong = []
    for index, published_row in enumerate(rows):
        mean = round(100 * means[f"m{index}"][0], 2)
        if mean != published_row.average:
            wrong.append((published_row.model, published_row.average, mean))
    assert wrong == [("Sinkhorn Trans.", 51.39, 51.48)]


def test_printed_averages_that_are_wrong_are_named():
    text = published_table.all_of("markdown")
    assert "Sinkhorn Trans. [LRA paper] 51.39, not 51.48" in text
    assert "Performer [LRA paper]" not in text
    assert "BigBird" in text


def marked(runs):
    return {key: mark for key, mark in the_board(runs).marks.items() if isinstance(key[1], str)}


def of(attention, *shares, **others):
    """Return a run for each share of right answers."""
    return [
        make(attention, seed, correct=right(share), **others) for seed, share in enumerate(shares)
    ]


def thrice(attention, share, **others):
    return of(attention, share, share, share, **others)


def test_the_best_is_marked_if_it_is_significantly_better():
    """A lead of one example is not significant; a lead of a tenth is, and marks the second too."""
    best, second = thrice("softmax", 0.7), thrice("linear", 0.6)
    assert marked(best + second) == {("softmax", "listops"): "best"}
    third = thrice("reformer", 0.5)
    both = {("softmax", "listops"): "best", ("linear", "listops"): "second"}
    assert marked(best + second + third) == both
    assert marked(thrice("softmax", 0.7) + of("linear", 0.7, 0.7, 0.6995)) == {}
    text = table(best + second + third)
    assert row(text, "softmax")[1] == "**70.0 ± 0.0**"
    assert row(text, "linear")[1] == "<u>60.0 ± 0.0</u>"
    assert "Bold: better than every other row" in text
    assert "with 3 seeds or more, corrected for the number of columns" in text
    assert "; underlined: the same, but for the bold one." in text


def test_two_seeds_mark_nothing():
    assert marked(of("softmax", 0.7, 0.7) + of("linear", 0.5, 0.5)) == {}
    assert marked(of("softmax", 0.7, 0.7, 0.7) + of("linear", 0.5, 0.5)) == {}


def test_the_level_is_that_of_all_columns():
    """A lead with p between 1 % and 5 % is marked in a table of one task, not in one of five."""
    leads = [run for task in ORDER[:5] for run in _lead(task)]
    assert marked(_lead("listops")) == {("softmax", "listops"): "best"}
    assert marked(leads) == {}


def _lead(task, behind="linear"):
    """Return runs of two attentions, of which one leads by 4.3 points, 2.2 standard errors."""
    return thrice("softmax", 0.643, task=task) + [
        make(behind, seed, task=task, correct=~right(0.4)) for seed in range(3)
    ]


def test_a_second_is_marked_only_below_a_marked_best():
    """Two leaders that do not differ are both unmarked, however far the third is behind."""
    leaders = thrice("softmax", 0.7) + of("linear", 0.7, 0.7, 0.6995)
    runs = leaders + thrice("reformer", 0.5)
    assert marked(runs) == {}
    text = table(runs)
    assert "<u>" not in text
    assert "underlined" not in text
    assert "No figure is bold: none is better than every other row that has an accuracy" in text


def test_nothing_is_called_underlined_where_nothing_is():
    text = table(thrice("softmax", 0.7) + thrice("linear", 0.5))
    assert "Bold: better than every other row" in text
    assert "underlined" not in text


@pytest.mark.parametrize("style", ["markdown", "latex", "html"])
def test_a_failure_is_never_marked(style):
    """It is compared with: the best must be better than it too."""
    chance = make()["chance"]
    failing = [thrice("linear", chance), thrice("reformer", chance - 0.05)]
    worst = thrice("linformer", 0.01)
    for runs in (failing[0] + worst, [*thrice("softmax", 0.7), *failing[0], *failing[1]]):
        assert "second" not in marked(runs).values()
        assert all(name == "softmax" for name, _ in marked(runs))
        text = render(parsed(runs), style, with_published=False)
        assert not re.search(r"(\*\*|<u>|<b>|textbf\{|underline\{)FAIL", text)


def test_the_sentence_tells_where_examples_are_not_paired():
    unpaired = [make(name, seed, accuracy) for name, accuracy in (("softmax", 0.9), ("linear", 0.3))
                for seed in (0, 1, 2)]  # fmt: skip
    assert "paired over seeds and, where known, test examples" in table(unpaired)
    assert "paired over seeds and test examples" in table(thrice("softmax", 0.7) + thrice(
        "linear", 0.5))  # fmt: skip


def test_one_seed_marks_nothing():
    text = table([make(correct=right(0.7)), make("linear", correct=right(0.3))])
    assert "**" not in text
    assert "No figure is bold" in text


@pytest.mark.parametrize(
    ("style", "signs"),
    [("latex", (r"\textbf{70.0", r"\underline{60.0")), ("html", ("<b>70.0", "<u>60.0"))],
)
def test_marks_in_other_formats(style, signs):
    runs = [
        make(attention, seed, correct=right(share))
        for attention, share in (("softmax", 0.7), ("linear", 0.6), ("reformer", 0.5))
        for seed in (0, 1, 2)
    ]
    text = render(parsed(runs), style, with_published=False)
    assert all(sign in text for sign in signs)


class TestNoBetterThanNoAttention:
    """The sign (-) and the notes on it; right(share) has the same examples right."""

    def test_sign(self):
        runs = thrice("softmax", 0.7) + thrice("linear", 0.5) + thrice("reformer", 0.45)
        runs += thrice("identity", 0.5) + thrice("linformer", 0.17)
        text = table(runs)
        assert "(-)" not in row(text, "softmax")[1] + row(text, "identity")[1]
        assert row(text, "linear")[1] == "50.0 ± 0.0 (-)"
        assert row(text, "reformer")[1] == "45.0 ± 0.0 (-)"
        assert row(text, "linformer")[1] == "FAIL (at chance, 17.0%)"
        assert "(-): not significantly better than identity, which mixes no tokens" in text
        assert "corrected for the 4 comparisons of this table" in text

    def test_for_programs(self):
        runs = thrice("softmax", 0.7) + thrice("linear", 0.5) + thrice("identity", 0.5)
        rows = json.loads(render(parsed(runs), "json", with_published=False))
        verdicts = {each["attention"]: each["beats_identity"] for each in rows}
        assert verdicts == {"softmax": True, "linear": False, "identity": None}

    def test_one_family(self):
        """What is better by itself is not, among as many that are not, at the level of all."""
        listops = the_board(_lead("listops", "identity"))
        assert listops.beats_identity == {("softmax", "listops"): True}
        runs = [run for task in ORDER[:5] for run in _lead(task, "identity")]
        verdicts = the_board(runs).beats_identity
        assert set(verdicts) == {("softmax", task) for task in ORDER[:5]}
        assert not any(verdicts.values())

    def test_without_identity(self):
        text = table(thrice("softmax", 0.7) + thrice("linear", 0.5))
        assert "(-)" not in text
        assert "identity has no record here." in text

    def test_two_seeds_are_no_verdict(self):
        runs = thrice("linear", 0.5) + of("identity", 0.5, 0.5)
        text = table(runs)
        assert "(-)" not in text
        assert "Not compared with identity, for fewer than 3 seeds" in text
        assert the_board(runs).beats_identity == {}

    def test_identity_alone_needs_no_note(self):
        assert "identity, which" not in table(thrice("identity", 0.5))

    @pytest.mark.parametrize("style", ["latex", "html"])
    def test_other_formats(self, style):
        runs = thrice("linear", 0.5) + thrice("identity", 0.5)
        text = render(parsed(runs), style, with_published=False)
        assert re.search(r"50.0 (±|\$\\pm\$) 0.0 \(-\)", text)


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


def test_speed_names_its_device_and_is_left_out_if_devices_differ():
    assert "Steps/s on 4 x TPU v5." in table([make()])
    other = make(seed=1)
    other["environment"] = {"device_kind": "cpu", "host_cpu": "EPYC", "device_count": 1}
    text = table([make(), other])
    assert row(text, "softmax")[5] == ""
    assert "Steps/s on 1 x EPYC and 4 x TPU v5." in text


def test_the_same_record_given_twice_counts_once(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/record.json").write_text(json.dumps(make()))
    assert len(collect([tmp_path, tmp_path / "a"])) == 1


def test_a_second_record_of_a_seed_is_named_and_left_out(capsys):
    text = table([make(accuracy=0.4), make(accuracy=0.5)])
    assert row(text, "softmax")[1:3] == ["40.0", "1"]
    assert "a second record of softmax on listops, seed 0" in capsys.readouterr().err


def test_published_rows_have_a_table_of_their_own_and_name_their_source():
    ours, theirs = table([make(), make("performer-softmax")], with_published=True).split(
        "### published"
    )
    assert "Performer" not in ours
    assert re.search(r"Transformer +\| +LRA paper \| +36.37", theirs)
    assert row(theirs, "Favor-256 (redraw)")[1:] == ["xformers", "19.56", "unknown"]
    assert re.search(r"Performer +\| +LRA paper \| +18.01", theirs)
    assert "BigBird" not in theirs
    assert "other sizes" in theirs


def test_published_rows_say_whether_listops_was_read_without_brackets():
    theirs = table([make()], with_published=True).split("### published")[1]
    for model, source, brackets in (
        ("Transformer", "LRA paper", "dropped"),
        ("Standard", "nystromformer", "dropped"),
        ("Self-Attention", "skyformer", "dropped"),
        ("Standard", "xformers", "unknown"),
    ):
        assert re.search(rf"{model} +\| +{source} \| +[0-9.]+ \| +{brackets} \|", theirs)
    assert "[MAX 2 9 ] as MAX 2 9, which is another task" in theirs
    assert "brackets" not in table([make(task="image")], with_published=True)


def test_what_is_known_of_brackets_is_of_published_rows():
    """Each line of the file is of a row that has a figure for ListOps, and says how it is known."""
    rows = [row for row in published.results() if "listops" in row.accuracy]
    for known in published.brackets():
        of = [row for row in rows if row.source.startswith(known["source"])]
        assert known["model"] in ("", *(row.model for row in of))
        assert {row.brackets for row in of if known["model"] in ("", row.model)} == {
            known["brackets"]
        }
        assert known["evidence"]


def test_published_kernels_are_told_apart():
    """The code of Nystromformer and Skyformer names the ReLU kernel, but does not use it."""
    softmax, relu = (
        {row.source for row in published.of(name, "listops")}
        for name in ("performer-softmax", "performer-relu")
    )
    assert softmax >= {"LRA paper", "nystromformer", "skyformer", "xformers"}
    assert relu == {"FlashAttention paper, Table 3 and Table 6"}
    of_paper = [row for row in published.of("performer-relu", "text") if row.source == "LRA paper"]
    assert [row.setting("text") for row in of_paper] == ["preset lra"]
    (row, *_) = published.of("linformer", "listops")
    assert row.setting("listops") == "preset lra, brackets dropped"
    assert "lra (LRA paper), nystromformer (nystromformer)" in published_table.all_of("markdown")


def test_published_figures_are_those_of_the_sources():
    rows = {(row.source, row.model): row.accuracy for row in published.results()}
    assert rows["LRA paper", "BigBird"]["pathfinder"] == 74.87
    assert "pathx" not in rows["LRA paper", "BigBird"]
    assert rows["s5", "S5"]["pathx"] == 98.58


def test_rivals_are_published_rows_of_their_mechanisms():
    rows = {(row.source, row.model): row for row in published.results()}
    h_transformer = published.of("h-transformer", "listops")
    assert [row.accuracy["listops"] for row in h_transformer] == [49.53]
    assert {row.model for row in published.of("luna", "text")} == {
        "Luna-256 (as in MEGA)",
        "Luna-256 (as in S4)",
    }
    assert rows["S4 paper, Table 4", "Nystromformer (as in S4)"].failed == {"pathx"}
    assert published.of("hedgehog", "listops") == []


def test_every_model_of_the_papers_table_2_but_the_performer_is_one_mechanism():
    names = (
        "softmax",
        "local",
        "linformer",
        "reformer",
        "sinkhorn",
        "synthesizer",
        "bigbird",
        "linear",
    )
    found = [speed.model for name in names if (speed := published.speed_of(name))]
    assert [*found, "Performer"] == [speed.model for speed in published.speeds()]


def test_identifiers_that_were_not_checked_are_marked():
    sources = {row.model: row.source for row in published.results()}
    assert sources["FNet"] == "S4 paper, Table 4, arXiv:2105.03824 not checked"
    assert sources["S4-v1"] == "MEGA paper, Table 2"


def test_a_row_that_repeats_figures_or_has_none_is_left_out():
    models = [row.model for row in published.results()]
    assert models.count("MEGA") == models.count("S5") == models.count("LRU") == 1
    for name in ("S4-v2", "Nystromformer (own paper)", "LION-lit", "S4 from scratch (as in SPT)"):
        assert name not in models
    assert all(row.accuracy for row in published.results())


def test_failures_count_in_no_average():
    """The S4 paper counts Path-X as 50, HGRN's list as 0; four tasks are named."""
    text = published_table.all_of("markdown")
    luna = next(row for row in published.results() if row.model == "Luna-256 (as in S4)")
    assert luna.mean(luna.tasks) == pytest.approx(61.242)
    assert luna.mean((*luna.tasks, "pathx")) is None
    assert re.search(r"Luna-256 \(as in S4\) .* FAIL \| +61.24 \| +\|", text)
    assert "[S4 paper, Table 4, arXiv:2106.01540 not checked] 59.37, not 61.24" in text
    assert "51.76, not 62.11" in text
    assert re.search(r"CCNN \[[^]]+\] 77.02 of listops, text, image, pathfinder", text)


def test_averages_rounded_to_a_tenth_are_no_misprints():
    text = published_table.all_of("markdown")
    assert "Transformer (re-run by FlashAttention) [" not in text
    assert "FlashAttention (exact) [" not in text
    assert "Block-sparse FlashAttention [" not in text
    assert "LION-D" in text
    assert "LION-D (w/ HIPPO) [" not in text


def test_csv_is_for_programs(tmp_path):
    text = render(parsed([make(), make(seed=1)]), "csv", with_published=True)
    (tmp_path / "t.csv").write_text(text)
    frame = pd.read_csv(tmp_path / "t.csv")
    here = frame[frame.source == "here"]
    assert here.accuracy_mean.tolist() == [0.4]
    assert here.seeds.tolist() == [2]
    paper = frame[(frame.source == "LRA paper") & (frame.attention == "Performer")]
    assert paper[paper.task == "listops"].accuracy_mean.tolist() == [0.1801]


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
