"""Averages over tasks, ours and those of published rows."""

import re

import pytest
from leaderboard_cases import averages, make, of_all_tasks, row, table, the_board

from lra_bench import published
from lra_bench.leaderboard import published_table
from lra_bench.leaderboard.board import ORDER


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
