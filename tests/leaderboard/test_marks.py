"""Which figures are marked as the best, and which as no better than no attention."""

import json
import re

import pytest
from leaderboard_cases import make, parsed, right, row, table, the_board

from lra_bench.leaderboard.board import ORDER
from lra_bench.leaderboard.tables import render


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

    def test_a_row_without_a_verdict_is_named(self):
        """Beside rows that have one: without a sign it would look better than `identity`."""
        runs = thrice("softmax", 0.5) + thrice("identity", 0.5) + of("linear", 0.4)
        text = table(runs)
        assert "for fewer than 3 seeds of it or of the row: on listops linear." in text
        assert "fewer than 3 seeds of it" not in table(runs[:-1])

    def test_identity_alone_needs_no_note(self):
        assert "identity, which" not in table(thrice("identity", 0.5))

    @pytest.mark.parametrize("style", ["latex", "html"])
    def test_other_formats(self, style):
        runs = thrice("linear", 0.5) + thrice("identity", 0.5)
        text = render(parsed(runs), style, with_published=False)
        assert re.search(r"50.0 (±|\$\\pm\$) 0.0 \(-\)", text)


def test_who_is_behind_on_the_seeds_of_both_is_not_marked():
    """Two more seeds give softmax the higher mean; on the three of both it is far behind."""
    runs = of("softmax", 0.6, 0.601, 0.599, 0.99, 0.99) + of("linear", 0.7, 0.701, 0.699)
    assert marked(runs) == {}
