"""Rows, exponents, crossovers and largest lengths from lines."""

import math

import numpy as np
import pytest
from efficiency_cases import LENGTHS, line, measured, sweep, table, the_group, visit
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lra_bench.config import make_settings
from lra_bench.scaling import fits, rows


class TestRows:
    def test_one_row_a_cell_with_its_figures(self):
        (row,) = measured([line(seconds=0.5, memory=1000)])
        assert (row.attention, row.length, row.exact) == ("softmax", 512, True)
        assert row.cpu == rows.Spread(0.5, 0.49, 0.51)
        assert row.wall == rows.Spread(0.25, 0.245, 0.26)
        assert (row.memory, row.predicted_over_measured) == (1000, 0.9)

    def test_the_last_timed_line_wins(self):
        first, second = line(seconds=1.0), line(seconds=2.0)
        probe = line(seconds=None, status="out_of_memory")
        (row,) = measured([first, second, probe])
        assert (row.status, row.cpu.median) == ("ok", 2.0)

    def test_visits_are_pooled(self):
        """Each visit counts the same; the time to compile is that of the first."""
        first, second, third = (visit(number, [number] * number) for number in (1, 2, 3))
        first["compile_seconds"], second["memory"]["measured_bytes"] = 4.0, None
        (row,) = measured([first, second, third])
        assert (row.cpu.q1, row.cpu.median, row.cpu.q3) == pytest.approx((4 / 3, 2, 3))
        assert row.wall == rows.Spread(row.cpu.median / 2, row.cpu.q1 / 2, row.cpu.q3 / 2)
        assert (row.rounds, row.repeats, row.compile_seconds) == (3, 6, 4.0)

    def test_one_visit_is_what_it_says(self):
        lone = visit(1, [1.0, 2.0])
        lone["timing"]["cpu"] = {"median": 5.0, "q1": 4.0, "q3": 6.0}
        (row,) = measured([lone])
        assert (row.cpu, row.rounds) == (rows.Spread(5.0, 4.0, 6.0), 1)

    def test_another_sweep_s_first_visit_begins_anew(self):
        lines = [visit(1, [1.0]), visit(2, [1.0]), visit(1, [4.0]), visit(2, [6.0])]
        (row,) = measured(lines)
        assert (row.cpu.median, row.rounds) == (5.0, 2)

    def test_what_ends_in_a_later_visit_keeps_the_others_figures(self):
        ended = line(status="timed_out", memory=None, round=2)
        (row,) = measured([visit(1, [3.0]), ended])
        assert (row.status, row.cpu.median, row.rounds) == ("ok", 3.0, 1)

    def test_without_a_timed_line_the_last_wins(self):
        (row,) = measured([line(seconds=None), line(status="timed_out")])
        assert (row.status, row.wall) == ("timed_out", None)

    def test_memory_of_a_probe_is_kept_where_the_timed_line_has_none(self):
        probe, timed = line(seconds=None, memory=77), line(memory=None)
        (row,) = measured([probe, timed])
        assert row.memory == 77
        assert row.wall is not None

    def test_options_that_are_not_defaults_are_in_the_label(self):
        config = make_settings(
            "text", "performer-relu", "small", 0, ["attention.num_features=64"]
        ).as_dict()
        usual = make_settings("text", "performer-relu", "small", 0).as_dict()
        lines = [line("performer-relu", config=config), line("performer-relu", config=usual)]
        labels = {row.label for row in measured(lines)}
        assert labels == {"performer-relu (num_features=64)", "performer-relu"}

    def test_a_third_party_name_is_no_exact_one(self):
        (row,) = measured([line("nowhere-to-be-found")])
        assert (row.label, row.exact) == ("nowhere-to-be-found", False)


class TestFit:
    @given(st.floats(0.1, 3), st.floats(1e-6, 1e3), st.integers(3, 8))
    def test_a_power_law_is_recovered(self, power, factor, count):
        lengths = [2_048 * 2**i for i in range(count)]
        fit = fits.fit_exponent(lengths, [factor * x**power for x in lengths])
        assert fit.exponent == pytest.approx(power, rel=1e-9)
        assert fit.half_width < 1e-6
        assert fit.points == count

    @given(st.permutations([(2_048, 1.0), (4_096, 2.5), (8_192, 4.0), (16_384, 9.0)]))
    def test_it_is_that_of_scipy(self, pairs):
        lengths, values = zip(*pairs, strict=True)
        fit = fits.fit_exponent(lengths, values)
        known = stats.linregress(np.log(lengths), np.log(values))
        assert fit.exponent == pytest.approx(known.slope)
        assert fit.half_width == pytest.approx(4.303 * known.stderr, rel=1e-3)

    @settings(deadline=None, max_examples=8)
    @given(st.integers(0, 2**32 - 1))
    def test_nineteen_in_twenty_intervals_cover(self, seed):
        """2,000 draws: four standard errors are 0.0195."""
        rng, lengths = np.random.default_rng(seed), [2_048, 4_096, 8_192, 16_384, 32_768]
        noise = rng.normal(0, 0.05, (2_000, 5))
        values = np.array(lengths) ** 1.3 * np.exp(noise)
        found = [fits.fit_exponent(lengths, list(row)) for row in values]
        covered = [abs(fit.exponent - 1.3) <= fit.half_width for fit in found]
        assert np.mean(covered) == pytest.approx(0.95, abs=0.0195)

    def test_quantiles_are_student_s(self):
        known = [stats.t.ppf(0.975, freedom) for freedom in range(1, 21)]
        assert fits._T == pytest.approx(known, abs=5e-4)

    def test_short_lengths_are_left_out(self):
        lengths = [256, 512, 1_024, 2_048, 4_096, 8_192]
        values = [1, 1, 1, 1, 2, 4]
        assert fits.fit_exponent(lengths, values).exponent == pytest.approx(1)

    def test_the_longest_four_do_where_few_are_long(self):
        fit = fits.fit_exponent([64, 128, 256, 512, 1_024, 2_048], [9, 9, 1, 2, 4, 8])
        assert (fit.exponent, fit.points) == (pytest.approx(1), 4)

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_two_points_say_nothing(self, count):
        assert fits.fit_exponent([2_048, 4_096][:count], [1, 2][:count]) is None


class TestCrossover:
    @given(st.floats(600, 16_000))
    def test_power_laws_cross_where_they_do(self, where):
        """Power laws are lines in log-log, so interpolation is exact."""
        one = [1.0 * x for x in LENGTHS]
        other = [x**2 / where for x in LENGTHS]
        found = fits.crossover(LENGTHS, one, other)
        assert (found.side, found.length) == ("at", pytest.approx(where))

    def test_outside_the_lengths(self):
        fast, slow = [1.0, 2.0], [3.0, 4.0]
        assert str(fits.crossover([512, 1_024], fast, slow)) == "below 512"
        assert str(fits.crossover([512, 1_024], slow, fast)) == "above 1,024"
        assert fits.crossover([], [], []) is None

    def test_the_last_change_counts(self):
        found = fits.crossover([1_000, 2_000, 4_000, 8_000], [1, 4, 4, 4], [2, 2, 2, 8])
        assert found.length == pytest.approx(math.sqrt(4_000 * 8_000))

    def test_only_lengths_that_both_ran_at_count(self):
        group = the_group(sweep())
        assert group.crossover("linear", "softmax").length == pytest.approx(2_048)
        assert group.crossover("identity", "softmax").side == "below"


class TestLargest:
    @pytest.mark.parametrize(
        ("ends", "text"),
        [
            ({}, ">= 8,192"),
            ({16_384: "out_of_memory"}, "8,192 to 16,384"),
            ({8_704: "out_of_memory"}, "8,192"),
            ({8_705: "out_of_memory"}, "8,192 to 8,705"),
            ({16_384: "timed_out"}, "8,192 to 16,384 (time)"),
            ({16_384: "timed_out", 12_288: "out_of_memory"}, "8,192 to 12,288"),
            ({4_096: "out_of_memory"}, ">= 8,192"),
            ({16_384: "crashed"}, ">= 8,192"),
        ],
    )
    def test_texts(self, ends, text):
        lines = [line(length=8_192), *(line(length=x, status=s) for x, s in ends.items())]
        assert str(fits.largest(measured(lines))) == text

    def test_nothing_fits(self):
        lines = [line(length=x, status="out_of_memory") for x in (512, 1_024)]
        assert str(fits.largest(measured(lines))) == "< 512"

    def test_probes_count_here_and_make_no_column(self):
        lines = [*sweep(), line("softmax", 6_144, seconds=None)]
        growth, _ = table(lines, "growth")
        assert growth["softmax"]["largest length that fits"] == "6,144 to 8,192"
        for title in ("median", "peak"):
            _, it = table(lines, title)
            assert not any("6,144" in name for name in it.frame.columns)
