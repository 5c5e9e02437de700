"""Tables of tasks that predict tokens: perplexity or bits, baselines, held-out examples."""

import math

import pytest
import report_cases
from leaderboard_cases import make, parsed

from lra_bench.config import make_settings
from lra_bench.leaderboard import tables
from lra_bench.report import leaderboard
from lra_bench.report.inputs import run_tables

EMPIRICAL, UNIFORM = 2.88, math.log(25)


def run(task="protein", attention="softmax", loss=2.5, held_out=None, **others):
    """A record of a task that predicts tokens; its test loss is `loss`."""
    values = make(attention, task=task, **others)
    values.update(chance_loss=EMPIRICAL, uniform_loss=UNIFORM)
    values["test"] = {**values["test"], "loss": loss}
    values["held_out"] = held_out
    return values


def lines(runs, style="markdown"):
    text = tables.render(parsed(runs), style, with_published=False)
    return {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
            for row in text.splitlines() if row.startswith("|")}, text  # fmt: skip


def test_accuracy_and_perplexity_beside_both_baselines():
    runs = [run(seed=seed, loss=2.5 + 0.1 * seed) for seed in range(3)]
    rows, text = lines([*runs, run(attention="linear", loss=2.7)])
    assert rows["attention"][:2] == ["protein %", "protein perplexity"]
    assert rows["softmax"][1] == "13.51 ± 1.35"
    assert rows["linear"][1] == "14.88"
    assert rows["chance"][:2] == ["17.0", "17.81"]
    assert rows["uniform"][:2] == ["4.0", "25.00"]
    assert "chance is the empirical baseline" in text


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("objective", ["next", "masked"])
def test_the_objective_decides_whether_attention_is_causal(objective, changed):
    """No row says what the objective implies; what departs from it is told."""
    implied = objective == "next"
    values = run()
    values["config"] = make_settings(
        "protein", "softmax", "mini", 0, [f"data.objective={objective}"]
    ).as_dict()
    values["config"]["attention_options"]["causal"] = implied is not changed
    rows, _ = lines([values])
    assert f"softmax (causal={not implied})" in rows if changed else "softmax" in rows


def test_an_objective_that_is_no_text_breaks_no_table():
    values = run()
    values["config"]["data"] = {**values["config"]["data"], "objective": ["next"]}
    assert "softmax" in "".join(lines([values])[0])


@pytest.mark.parametrize(("task", "unit"), [("image-lm", "dim"), ("text-lm", "byte")])
def test_bits_of_pixels_and_bytes(task, unit):
    rows, _ = lines(
        [run(task, "softmax", loss=2 * math.log(2), overrides=("attention.causal=true",))]
    )
    assert rows["attention"][:2] == [f"{task} %", f"{task} bits/{unit}"]
    assert next(cells[1] for name, cells in rows.items() if name.startswith("softmax")) == "2.000"
    assert rows["uniform"][1] == f"{math.log2(25):.3f}"


def test_held_out_examples_have_columns_where_records_have_them():
    score = {"accuracy": 0.2, "loss": 2.6, "examples": 500}
    rows, text = lines([run(held_out=score), run(attention="linear")])
    assert rows["attention"][2:4] == ["protein held-out %", "protein held-out perplexity"]
    assert rows["softmax"][2:4] == ["20.0", "13.46"]
    assert rows["linear"][2:4] == ["", ""]
    assert "Held-out: " in text
    assert "held-out" not in "".join(lines([run()])[0]["attention"])


def test_other_tasks_have_neither_columns_nor_rows():
    rows, text = lines([make()])
    assert "uniform" not in rows
    assert "perplexity" not in text


def test_a_loss_beyond_all_bounds_is_left_empty():
    rows, _ = lines([run(loss=1e4)])
    assert rows["softmax"][1] == ""


def test_for_programs():
    _, text = lines([run(held_out={"accuracy": 0.2, "loss": 2.6, "examples": 500})], "csv")
    head, row = (line.split(",") for line in text.splitlines())
    found = dict(zip(head, row, strict=True))
    assert float(found["loss_mean"]) == 2.5
    assert float(found["chance_loss"]) == EMPIRICAL
    assert float(found["held_out_accuracy_mean"]) == 0.2


def test_in_the_report():
    values = report_cases.run("protein", "softmax", chance_loss=EMPIRICAL, uniform_loss=UNIFORM)
    (table,) = run_tables(report_cases.parsed([values]))
    text = leaderboard.leaderboard(table)
    assert "protein perplexity" in text
    assert ">2.72<" in text  # exp(1)
    assert text.index(">chance<") < text.index(">uniform<") < text.index(">25.00<")
