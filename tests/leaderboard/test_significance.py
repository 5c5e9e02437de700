"""Differences between attentions: the variance of two crossed factors, and what it covers."""

import functools
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from leaderboard_cases import answered, make, parsed, right
from scipy import stats

from lra_bench.data.store import Provenance
from lra_bench.leaderboard import behrens_fisher, holm
from lra_bench.leaderboard.board import ORDER
from lra_bench.leaderboard.results import Result
from lra_bench.leaderboard.significance import Difference, difference, of_averages, paired

cached_record = functools.cache(make)


def result(attention, answers):
    """Return a result whose runs have these answers, a row for each seed."""
    values = cached_record(attention)
    runs = [{**values, "seed": seed, "test": answered(row)} for seed, row in enumerate(answers)]
    return Result(attention, "listops", tuple(parsed(runs)))


def test_one_seed_is_mcnemars_test():
    """The statistic is (b - c)^2 / (b + c) for large counts; the exact p-value is near."""
    rng = np.random.default_rng(0)
    one = rng.random(2000) < 0.55
    other = np.where(rng.random(2000) < 0.3, rng.random(2000) < 0.48, one)
    gap = difference(result("softmax", [one]), result("linear", [other]))
    b, c = int((one & ~other).sum()), int((other & ~one).sum())
    assert gap.discordant == (b / 2000, c / 2000)
    asymptotic = stats.chi2.sf((b - c) ** 2 / (b + c), 1)
    assert gap.p == pytest.approx(asymptotic, rel=0.05)
    assert gap.p == pytest.approx(stats.binomtest(b, b + c).pvalue, rel=0.2)
    assert not gap.is_tested  # by one seed


def test_the_variances_are_those_of_two_crossed_factors():
    """The rest is each answer less the means of its seed and its example."""
    rng = np.random.default_rng(1)
    rates = (0.7 * rng.random(200) + 0.3 * rng.random((3, 1)) for _ in range(2))
    one, other = (rng.random((3, 200)) < rate for rate in rates)
    gaps = one.astype(float) - other
    rest = gaps - gaps.mean(0) - gaps.mean(1, keepdims=True) + gaps.mean()
    examples = gaps.mean(0).var(ddof=1) / 200 - (rest**2).sum() / (2 * 199) / 600
    assert examples > 0
    gap = difference(result("softmax", one), result("linear", other))
    assert gap.of_seeds == pytest.approx(gaps.mean(1).var(ddof=1) / 3)
    assert gap.of_examples == pytest.approx(examples)
    assert gap.freedom == 2


def test_without_examples_in_common_it_is_the_unpaired_test_of_proportions():
    records = [[make(name, accuracy=share)] for name, share in (("softmax", 0.5), ("linear", 0.4))]
    gap = difference(*(Result("x", "listops", tuple(parsed(runs))) for runs in records))
    assert gap.of_examples == pytest.approx((0.5 * 0.5 + 0.4 * 0.6) / 2000)
    assert gap.discordant is None


def test_answers_of_examples_that_have_several_are_not_called_right_or_wrong():
    gap = paired(np.array([[0.25, 0.0, -0.5], [1.0, 0.0, 0.25]]))
    assert gap.discordant is None
    assert paired(np.array([[1.0, 0.0, -1.0]])).discordant == (1 / 3, 1 / 3)


def test_other_data_are_not_paired():
    one, other = (result(name, [right(0.5)]) for name in ("softmax", "linear"))
    data = Provenance(None, "fedcba98", {}, official=False)
    moved = Result("linear", "listops", (replace(other.runs[0], data=data),))
    assert difference(one, moved).discordant is None


def test_no_seed_in_common_is_no_difference():
    one = Result("softmax", "listops", tuple(parsed([make(seed=0)])))
    other = Result(
        "linear", "listops", tuple(parsed([make(seed=1), make(seed=0, status="diverged")]))
    )
    assert difference(one, other) is None


def test_equal_answers_do_not_differ():
    gap = difference(result("softmax", [right(0.5)] * 3), result("linear", [right(0.5)] * 3))
    assert (gap.value, gap.p, gap.interval) == (0, 1, (0, 0))


def answers(rng, seeds, examples, gap, spread):
    """Draw answers of two attentions that share easy and hard examples but not lucky seeds."""
    ease = rng.normal(0, 1, examples)
    drawn = []
    for mean in (gap, 0.0):
        luck = rng.normal(0, spread, (seeds, 1))
        chance = stats.norm.cdf(mean + ease + luck)
        drawn.append(rng.random((seeds, examples)) < chance)
    return drawn


@pytest.mark.ci
@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0), (3, 0.15), (5, 0.05)])
def test_the_interval_covers_what_it_should(seeds, spread):
    """95 % intervals hold the true difference in 93 % to 99.8 % of 600 draws."""
    rng, gap, draws = np.random.default_rng(0), 0.1, 600
    truth = stats.norm.cdf(gap / np.sqrt(2 + spread**2)) - 0.5
    held = 0
    for _ in range(draws):
        one, other = answers(rng, seeds, 300, gap, spread)
        low, high = paired(one.astype(np.int8) - other).interval
        held += low <= truth <= high
    assert 0.93 <= held / draws <= 0.998


def test_equal_attentions_are_seldom_called_different():
    rng, draws = np.random.default_rng(1), 600
    called = 0
    for _ in range(draws):
        one, other = answers(rng, 3, 300, 0.0, 0.1)
        called += paired(one.astype(np.int8) - other).p < 0.05
    assert called / draws <= 0.05


def test_the_variances_of_an_average():
    parts = [Difference(0.1, 9e-4, 2, 4e-4, 3, 100), Difference(0.2, 9e-4, 4, 8e-4, 5, 200)]
    average = of_averages(parts)
    assert (average.value, average.seeds, average.examples) == (pytest.approx(0.15), 3, 300)
    assert average.of_seeds == pytest.approx(4.5e-4)
    assert average.of_examples == pytest.approx(3e-4)
    assert average.freedom == pytest.approx(4 / (1 / 2 + 1 / 4))


@pytest.mark.parametrize("freedom", [1, 2, 4.5, 9, 60])
def test_without_a_known_part_the_p_value_is_students(freedom):
    means = np.array([0.0, 0.1, 1.0, 3.0, 8.0])
    expected = 2 * stats.t.sf(means, freedom)
    assert behrens_fisher.p_value(2 * means, 4.0, freedom, 0.0) == pytest.approx(expected, 1e-4)


def test_without_an_estimated_part_the_p_value_is_normal():
    expected = 2 * stats.norm.sf([0.0, 1.0, 4.0])
    assert behrens_fisher.p_value(np.array([0, 2, 8]), 0.0, 2, 4.0) == pytest.approx(expected)


def test_the_p_value_is_that_of_the_sum_of_both_parts():
    rng = np.random.default_rng(0)
    drawn = np.abs(0.5 * rng.standard_t(2, 400_000) + 0.7 * rng.standard_normal(400_000))
    p = behrens_fisher.p_value(np.array([1.0, 2.0]), 0.25, 2, 0.49)
    assert p == pytest.approx([(drawn > 1).mean(), (drawn > 2).mean()], rel=0.02)


@pytest.mark.parametrize("variances", [(0.04, 2, 0.01), (0.0, 1, 0.01), (0.04, 4, 0.0)])
def test_the_interval_ends_where_the_p_value_is_5_percent(variances):
    half = behrens_fisher.half_width(*variances, 0.05)
    assert behrens_fisher.p_value(half, *variances) == pytest.approx(0.05)


def test_holms_method():
    assert holm.adjusted([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm.adjusted([0.9, 0.8]) == [1, 1]
    assert holm.adjusted([]) == []


def test_chains():
    """The second of a chain is tested only after the first; what is done frees its share."""
    assert holm.rejected([[0.02], [0.03]], 0.05) == [1, 1]
    assert holm.rejected([[0.03], [0.03]], 0.05) == [0, 0]
    assert holm.rejected([[0.02, 0.03], [0.03]], 0.05) == [1, 0]
    assert holm.rejected([[0.02, 0.02], [0.03]], 0.05) == [2, 1]
    assert holm.rejected([[0.2, 0.0], []], 0.05) == [0, 0]


@pytest.fixture
def folders(tmp_path):
    """Write records of two attentions in one folder, and of one of them in another."""
    for folder, names in (("one", ("softmax", "linear")), ("other", ("softmax",))):
        for name in names:
            for seed in range(3):
                share = 0.7 if (folder, name) == ("one", "softmax") else 0.6
                run_folder = tmp_path / folder / f"{name}{seed}"
                run_folder.mkdir(parents=True)
                run = make(name, seed, correct=right(share))
                (run_folder / "record.json").write_text(json.dumps(run))
    return tmp_path


def cells_of(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [word.strip() for word in line.strip("|").split("|")]


def test_compare_two_attentions(cli, folders):
    status, out, err = cli("table", str(folders / "one"), "--compare", "softmax", "linear")
    assert (status, err) == (0, "")
    assert "softmax minus linear, preset mini" in out
    cells = cells_of(out, "listops")
    assert cells[:4] == ["listops", "70.0", "60.0", "+10.0"]
    assert cells[5:] == ["< 0.001", "3", "10.0", "0.0", "yes"]
    assert "p (Holm)" in out
    assert "Significant: p below 5 %, with 3 seeds or more" in out


def test_compare_two_folders(cli, folders):
    pair = (str(folders / "one"), str(folders / "other"))
    status, out, _ = cli("table", "--compare", *pair, "--format", "json")
    assert status == 0
    (row,) = json.loads(out)
    assert row["difference"] == pytest.approx(0.1)
    assert row["significant"] is True
    assert row["p_holm"] == row["p"]


def test_comparisons_are_corrected_for_their_number(cli, tmp_path):
    """Five tasks and their average: the least p-value counts six times."""
    for task, seed in product(ORDER[:5], range(3)):
        for name, correct in (("softmax", right(0.643)), ("linear", ~right(0.4))):
            folder = tmp_path / f"{name}{seed}{task}"
            folder.mkdir()
            run = make(name, seed, task=task, correct=correct)
            (folder / "record.json").write_text(json.dumps(run))
    call = ("table", str(tmp_path), "--compare", "softmax", "linear")
    rows = json.loads(cli(*call, "--format", "json")[1])
    assert [row["p_holm"] for row in rows] == holm.adjusted([row["p"] for row in rows])
    assert 0.01 < rows[0]["p"] < 0.05 < rows[0]["p_holm"]
    assert [row["significant"] for row in rows] == [False] * 5 + [True]
    assert "corrected for 6 comparisons by Holm's method" in cli(*call)[1]


@pytest.mark.parametrize(("seeds", "says"), [(1, "one seed"), (2, "2 seeds")])
def test_fewer_than_three_seeds_have_no_verdict(cli, folders, seeds, says):
    for path in folders.glob("one/*/record.json"):
        if int(path.parent.name[-1]) >= seeds:
            path.unlink()
    out = cli("table", str(folders / "one"), "--compare", "softmax", "linear")[1]
    cells = cells_of(out, "listops")
    assert (cells[5], cells[-1]) == ("", says)
    assert "No verdict: it takes 3 seeds or more." in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("one", "--compare", "softmax", "lineer"), "did you mean 'linear'?"),
        (("--compare", "softmax", "linear"), "no folder softmax; to compare attentions"),
        (
            ("one", "--compare", "softmax", "linear", "--kind", "efficiency"),
            "works on accuracies only",
        ),
        ((), "name a folder of records, or --published"),
    ],
)
def test_a_wrong_call_is_one_line(cli, folders, monkeypatch, words, says):
    monkeypatch.chdir(folders)
    status, _, err = cli("table", *words)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1


def test_nothing_in_common_is_reported(cli, folders, monkeypatch):
    monkeypatch.chdir(folders)
    for path in (folders / "one").glob("linear*/record.json"):
        path.write_text(path.read_text().replace('"seed": ', '"seed": 7'))
    status, _, err = cli("table", "one", "--compare", "softmax", "linear")
    assert status == 2
    assert "share no task, setting and seed" in err
