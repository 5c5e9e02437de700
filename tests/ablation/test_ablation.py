"""Tests of the ablations: which runs each has, its table and its figure."""

import pytest
from common import read_record, refused
from report_cases import run, write

from lra_bench.ablation import figure, studies, table
from lra_bench.ablation.variants import variants
from lra_bench.ablation.write import write as write_results
from lra_bench.errors import UsageError
from lra_bench.records import record
from lra_bench.records.find import readable
from lra_bench.registry import ATTENTIONS
from lra_bench.sweep.plan import jobs

pytestmark = pytest.mark.ci

KERNEL = "performer-generalized"
SMALL = ("--task", "listops", "--preset", "smoke", "--seeds", "0")


def plan(study, seeds=(0,), overrides=(), task="listops", preset="mini"):
    return jobs(study.choice(task, preset, seeds, overrides))


def options(planned, *names):
    return [tuple(job.settings().attention_options.get(name) for name in names) for job in planned]


def test_kernels_are_all_tried_with_and_without_normaliser():
    planned = plan(studies.kernels(), seeds=(0, 1))
    pairs = options(planned, "kernel", "renormalize")
    every = ATTENTIONS.get(KERNEL).choices()["kernel"]
    assert len(every) == 10
    assert sorted(pairs) == sorted(
        (kernel, divides) for kernel in every for divides in (True, False) for _ in range(2)
    )
    assert {job.attention for job in planned} == {KERNEL}


def test_features_are_redrawn_never_or_every_so_many_steps():
    planned = plan(studies.redraw((0, 10, 100)))
    assert [job.settings().train.resample_every for job in planned] == [0, 10, 100]
    assert {job.attention for job in planned} == {"performer-softmax"}


def test_stability_compares_both_features_relu_and_the_linear_transformer():
    planned = plan(studies.stability())
    named = [(job.attention, *options([job], "estimator")[0]) for job in planned]
    assert named == [
        ("performer-softmax", "positive"),
        ("performer-softmax", "trigonometric"),
        ("performer-relu", None),
        ("linear", None),
    ]


@pytest.mark.parametrize("task", ["protein", "listops"])
@pytest.mark.parametrize("study", [studies.kernels(), studies.redraw((0, 5)), studies.stability()])
def test_attention_is_causal_where_the_next_token_is_predicted(study, task):
    causal = {job.settings().attention_options["causal"] for job in plan(study, task=task)}
    assert causal == {task == "protein"}


def test_settings_of_the_user_apply_to_all_runs_that_have_them():
    planned = plan(studies.stability(), overrides=("attention.num_features=8",))
    assert options(planned, "num_features") == [(8,), (8,), (8,), (None,)]


def test_what_a_study_varies_cannot_be_set():
    with pytest.raises(UsageError, match="kernels tries several values of it"):
        plan(studies.kernels(), overrides=("attention.kernel =relu",))


def finished(folder, attention, overrides, seed, accuracy, **changes):
    """Write a run whose training accuracy rises to `accuracy`, with a line every 20 steps."""
    values = run("listops", attention, seed, accuracy, overrides=overrides, **changes)
    lines = [
        {"step": step, "split": "train", "loss": 2.3 - accuracy * step / 100, "seconds": 1.0,
         "accuracy": round(accuracy * step / 100, 6)}
        for step in range(20, min(values["steps"], 100) + 1, 20)
    ]  # fmt: skip
    write(folder / f"{attention}-{'-'.join(overrides)}-seed{seed}", values, lines)


def diverged(folder, attention, overrides, seed, step):
    finished(folder, attention, overrides, seed, 0.4, status="diverged", steps=step)


def kernel(name, divides):
    return (f"attention.kernel={name}", f"attention.renormalize={divides}")


@pytest.fixture
def of_kernels(tmp_path):
    """A folder with runs of two kernels, of which one diverges twice without normaliser."""
    folder = tmp_path / "kernels"
    for seed in (0, 1):
        finished(folder, KERNEL, kernel("relu", "true"), seed, 0.30 + 0.02 * seed)
        finished(folder, KERNEL, kernel("relu", "false"), seed, 0.2)
        finished(folder, KERNEL, kernel("exp", "true"), seed, 0.25)
        diverged(folder, KERNEL, kernel("exp", "false"), seed, 70 - 60 * seed)
    return tmp_path


def found_in(folder, study, **choice):
    return variants(study, plan(study, **choice), readable([folder]))


def cells(text):
    """The cells of a Markdown table: a dictionary for each row."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    titles, _, *body = [[cell.strip() for cell in row] for row in rows]
    return [dict(zip(titles, row, strict=True)) for row in body]


def test_the_table_says_which_kernel_diverged_and_at_which_step(of_kernels):
    study = studies.kernels(("relu", "exp"))
    text = table.render(study, found_in(of_kernels, study), "listops, preset mini")
    assert cells(text) == [
        {"kernel": kernel, "renormalised": divides, "test accuracy (%)": accuracy,
         "diverged at step": step, "seeds": "2"}
        for kernel, divides, accuracy, step in [
            ("relu", "yes", "31.0 ± 1.4", ""),
            ("relu", "no", "20.0 ± 0.0", ""),
            ("exp", "yes", "25.0 ± 0.0", ""),
            ("exp", "no", "2 diverged", "70, 10"),
        ]
    ]  # fmt: skip
    assert text.startswith("### Kernels of generalized attention: listops, preset mini\n")
    assert "A guess (always the commonest answer): 17.0 %." in text


def test_a_variant_without_a_run_is_in_the_table(of_kernels):
    study = studies.kernels(("relu", "tanh"))
    rows = cells(table.render(study, found_in(of_kernels, study), "listops"))
    assert [row["test accuracy (%)"] for row in rows if row["kernel"] == "tanh"] == ["not run"] * 2
    # Runs of an earlier command follow.
    assert [row["kernel"] for row in rows] == ["relu", "relu", "tanh", "tanh", "exp", "exp"]


def test_runs_without_a_result_are_counted_by_how_they_ended(tmp_path):
    study = studies.stability()
    finished(tmp_path, "linear", (), 0, 0.3)
    diverged(tmp_path, "linear", (), 1, 9)
    finished(tmp_path, "linear", (), 2, 0.3, status="out_of_memory")
    row = cells(table.render(study, found_in(tmp_path, study), "listops"))[-1]
    assert row["test accuracy (%)"] == "30.0 (1 diverged, 1 out of memory)"
    assert (row["diverged at step"], row["seeds"]) == ("9", "3")


def test_where_tokens_are_predicted_there_is_a_perplexity(tmp_path):
    study = studies.redraw((0, 10))
    for seed, loss in enumerate((1.0, 2.0)):
        score = {"accuracy": 0.1, "loss": loss, "examples": 9}
        values = run("protein", "performer-softmax", seed, test=score, chance_loss=2.879)
        write(tmp_path / f"never-{seed}", values)
    huge = {"accuracy": 0.1, "loss": 1e9, "examples": 9}
    every = ("train.resample_every=10",)
    values = run("protein", "performer-softmax", overrides=every, test=huge, chance_loss=2.879)
    write(tmp_path / "redrawn", values)
    text = table.render(study, found_in(tmp_path, study, task="protein"), "protein")
    assert [(row["redrawn"], row["perplexity"]) for row in cells(text)] == [
        ("never", "5.05 ± 3.30"),
        ("every 10 steps", ""),
    ]
    assert "perplexity 17.80" in text


def test_records_of_other_settings_do_not_count(tmp_path):
    study = studies.stability()
    finished(tmp_path, "linear", (), 0, 0.3)
    finished(tmp_path, "linear", ("train.num_steps=50",), 1, 0.4)
    finished(tmp_path, "softmax", (), 0, 0.5)
    finished(tmp_path, "performer-softmax", ("attention.num_features=8",), 0, 0.5)
    counted = [x for variant in found_in(tmp_path, study) for x in variant.runs]
    assert [(x.attention, x.seed) for x in counted] == [("linear", 0)]


def test_a_figure_has_a_line_for_each_run_and_a_cross_where_it_diverged(of_kernels):
    study = studies.kernels(("relu", "exp"))
    drawn = figure.figure(study, found_in(of_kernels, study), "kernels")
    divided, plain = drawn.axes
    assert (divided.get_title(), plain.get_title()) == ("renormalised: yes", "renormalised: no")
    assert len(drawn_lines(divided)) == 4
    assert crosses(divided) == []
    # One run diverged at step 70, after a line at step 60; the other before its first line.
    assert crosses(plain) == [(70, pytest.approx(24)), (10, pytest.approx(0.065))]
    assert [x.get_text() for x in drawn.legends[0].get_texts()] == [
        "relu", "exp", "chance", "diverged",
    ]  # fmt: skip


def drawn_lines(axes):
    return [line for line in axes.lines if line.get_marker() not in ("x", "None")]


def crosses(axes):
    """The last point of each line that ends in a cross."""
    marked = [line for line in axes.lines if line.get_marker() == "x"]
    return [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in marked]


def test_a_figure_of_redrawing_has_a_panel_for_each_interval_and_a_colour_for_each_seed(tmp_path):
    study = studies.redraw((0, 10))
    for seed in (0, 1):
        finished(tmp_path, "performer-softmax", (), seed, 0.3)
        finished(tmp_path, "performer-softmax", ("train.resample_every=10",), seed, 0.3)
    drawn = figure.figure(study, found_in(tmp_path, study), "redraw")
    assert [axes.get_title() for axes in drawn.axes] == [
        "redrawn: never", "redrawn: every 10 steps",
    ]  # fmt: skip
    for axes in drawn.axes:
        assert len({line.get_color() for line in drawn_lines(axes)}) == 2


def test_a_figure_of_stability_shows_accuracy_and_loss(tmp_path):
    study = studies.stability()
    finished(tmp_path, "linear", (), 0, 0.3)
    diverged(tmp_path, "performer-softmax", ("attention.estimator=trigonometric",), 0, 50)
    drawn = figure.figure(study, found_in(tmp_path, study), "stability")
    accuracy, loss = drawn.axes
    assert "accuracy" in accuracy.get_ylabel()
    assert "loss" in loss.get_ylabel()
    assert [place[0] for place in crosses(loss)] == [50]
    assert loss.get_yscale() == "log"


def test_without_records_nothing_is_written(tmp_path):
    (tmp_path / "stability").mkdir()
    study = studies.stability()
    assert write_results(study, study.choice("listops", "mini", (0,), ()), tmp_path) == ("", ())
    assert [path.name for path in tmp_path.iterdir()] == ["stability"]


def test_damaged_metrics_are_named_and_the_rest_is_drawn(of_kernels, capsys):
    broken = next(iter(of_kernels.glob("kernels/*relu*true-seed0"))) / "metrics.jsonl"
    broken.write_text(broken.read_text() + "no json\n")
    study = studies.kernels(("relu", "exp"))
    drawn = figure.figure(study, found_in(of_kernels, study), "kernels")
    assert len(drawn_lines(drawn.axes[0])) == 4
    assert "left out: 1 line of" in capsys.readouterr().err


def test_two_kernels_from_the_command_to_the_figure(cli, tmp_path):
    """Runs that are there are kept: here all but one, which do not need processes of their own."""
    few = ("--set", "attention.num_features=8")
    call = ("ablate", "kernels", "--kernels", "relu,exp", *SMALL, "--out", tmp_path, *few)
    status, out, _ = cli(*call, "--dry-run")
    assert status == 0
    assert "4 runs, 0 done" in out
    assert list(tmp_path.iterdir()) == []

    study = studies.kernels(("relu", "exp"))
    planned = plan(study, overrides=few[1:], preset="smoke")
    for job in planned[:-1]:
        folder = tmp_path / "kernels" / job.name
        assert cli("run", *job.arguments(), "--out", folder)[0] == 0
    status, out, err = cli(*call, "--no-calibration")
    assert status == 0, out + err
    assert "4 runs, 3 done" in out
    text = (tmp_path / "kernels.md").read_text()
    assert text in out
    records = [read_record(tmp_path / "kernels" / job.name / record.FILE) for job in planned]
    assert [row["test accuracy (%)"] for row in cells(text)] == [
        f"{100 * run['test']['accuracy']:.1f}" for run in records
    ]

    picture = (tmp_path / "kernels.png").read_bytes()
    (tmp_path / "kernels.png").unlink()
    status, out, _ = cli(*call)
    assert status == 0
    assert out.startswith("all 4 runs are done\n")
    assert (tmp_path / "kernels.png").read_bytes() == picture


def test_the_plan_names_every_variant_in_a_narrow_terminal(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = cli("ablate", "kernels", *SMALL, "--out", tmp_path, "--dry-run")
    named = "".join(line.split("  ")[0] for line in out.splitlines())
    assert named.count("attention.renormalize=true") == 10
    assert named.count("attention.renormalize=false") == 10


def test_intervals_that_no_run_reaches_are_left_out(cli, tmp_path):
    call = ("ablate", "redraw", *SMALL, "--out", tmp_path, "--dry-run")
    status, out, _ = cli(*call)
    assert status == 0
    assert "left out: redrawing every 100, 1000 steps, as a run has 24" in out
    assert "resample_every=0" in out
    assert "resample_every=10 " in out
    refused(cli(*call, "--every", "0,24"), 2, "nothing is ever redrawn: a run has 24 steps")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("kernels", "--kernels", "rleu"), "did you mean 'relu'"),
        (("kernels", "--set", "attention.kernel=relu"), "kernels tries several values of it"),
        (("redraw", "--set", "train.resample_every=3"), "redraw tries several values of it"),
        (("redraw", "--every", "-1"), "whole number from 0"),
        (("stability", "--set", "attention.kernel=relu"), "attention.kernel"),
        (("stability", "--kernels", "relu"), "unknown option '--kernels'"),
        (("kernel",), "did you mean 'kernels'"),
        (("kernels", "--task", "listop"), "did you mean 'listops'"),
    ],
)
def test_a_wrong_call_is_one_line(cli, tmp_path, words, says):
    study, *others = words
    refused(cli("ablate", study, *SMALL, "--out", tmp_path / "x", *others), 2, says)
    assert not (tmp_path / "x").exists()
