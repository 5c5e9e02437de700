"""Statistics of repeated calls, the search for the largest length, and units."""

import itertools
import re
import time
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra_bench.display.units import parse_size, size_text, time_text
from lra_bench.efficiency import timing
from lra_bench.efficiency.measurement import Spread
from lra_bench.efficiency.search import LONGEST, STEP, largest
from lra_bench.runtime import memory


class TestTiming:
    def clock(self, monkeypatch, seconds):
        """Return a call that takes each of `seconds` in turn, by a clock that the test sets."""
        now, durations = [0.0], itertools.cycle(seconds)

        def call():
            now[0] += next(durations)

        monkeypatch.setattr(time, "perf_counter", lambda: now[0])
        monkeypatch.setattr(time, "process_time", lambda: 2 * now[0])
        return call

    def test_medians_and_quartiles(self, monkeypatch):
        call = self.clock(monkeypatch, (1.0, 2.0, 3.0, 4.0, 5.0))
        found = timing.measure(call, 3.0, 15.0, "wall")
        assert (found.repeats, found.calls_per_repeat) == (5, 1)
        assert found.wall == Spread(3.0, 2.0, 4.0)
        assert found.cpu == Spread(6.0, 4.0, 8.0)

    def test_it_ends_when_precise(self, monkeypatch):
        call = self.clock(monkeypatch, (1.0,))
        assert timing.measure(call, 1.0, 6.0, "cpu").repeats == 5
        assert timing.measure(call, 1.0, 60.0, "cpu").repeats == 20  # a third of the budget

    def test_it_goes_on_while_it_is_not(self, monkeypatch):
        call = self.clock(monkeypatch, (1.0, 2.0))
        assert timing.measure(call, 1.0, 100.0, "cpu").repeats > 50

    def test_long_calls_are_few_short_ones_many_together(self, monkeypatch):
        call = self.clock(monkeypatch, (100.0,))
        assert timing.measure(call, 100.0, 10.0, "cpu").repeats == 1
        call = self.clock(monkeypatch, (1e-4,))
        found = timing.measure(call, 1e-4, 1.0, "cpu")
        assert found.calls_per_repeat == 200
        assert found.wall.median == pytest.approx(1e-4)

    def test_few_samples_are_kept_and_of_many_the_distribution(self, monkeypatch):
        call = self.clock(monkeypatch, (3.0, 1.0, 2.0))
        assert timing.measure(call, 2.0, 3.0, "cpu").samples.wall == (1.0, 2.0, 3.0, 3.0)
        call = self.clock(monkeypatch, [1.0 + number % 997 / 997 for number in range(1_000)])
        found = timing.measure(call, 1.0, 1e6, "cpu")
        assert found.repeats > 200
        assert len(found.samples.cpu) == 32
        of_kept = timing.spread(found.samples.cpu)
        assert astuple(of_kept) == pytest.approx(astuple(found.cpu), rel=0.02)

    @given(st.lists(st.lists(st.floats(1e-6, 1e3), min_size=4, max_size=4), min_size=1))
    def test_visits_of_as_many_samples_are_one_sample(self, visits):
        quartiles = np.quantile(np.concatenate(visits), (0.25, 0.5, 0.75), method="hazen")
        found = timing.pooled(visits)
        assert [found.q1, found.median, found.q3] == pytest.approx(quartiles.tolist())

    def test_visits_count_alike(self):
        """Visits of fewer samples count as if their samples were repeated."""
        visits = ([1.0] * 30, [2.0, 2.0], [7.0])
        assert timing.pooled(visits).median == pytest.approx(2.0, abs=0.2)
        assert timing.pooled(visits) == timing.pooled(visits[::-1])
        assert timing.pooled([[1.0, 3.0], [5.0]]).median == pytest.approx(3.0 + 2 / 3)


class TestSearch:
    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, 2 * LONGEST), st.integers(1, 2**20))
    def test_it_closes_in(self, edge, start):
        asked = []

        def fits(length):
            asked.append(length)
            return length <= edge

        good, bad = largest(fits, start)
        assert len(set(asked)) == len(asked) < 50
        assert good <= edge
        assert not good or good in asked
        if bad:
            assert bad > edge
            assert not good or bad - good <= max(STEP, good // 16)
        else:
            assert good == LONGEST

    @settings(max_examples=200, deadline=None)
    @given(st.integers(1, LONGEST), st.lists(st.integers(1, LONGEST), max_size=4))
    def test_it_goes_on_from_what_is_known(self, edge, known):
        good = max((x for x in known if x <= edge), default=0)
        bad = min((x for x in known if x > edge), default=0)
        asked = []

        def fits(length):
            asked.append(length)
            return length <= edge

        found = largest(fits, 1024, good, bad)
        assert all(good < length and (not bad or length < bad) for length in asked)
        asked.clear()
        assert largest(fits, 1024, *found) == found
        assert asked == [] or not all(found)


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("16GiB", 2**34),
            ("16 GiB", 2**34),
            ("16G", 2**34),
            ("1.5gib", 3 * 2**29),
            ("500MB", 500 * 10**6),
            ("4096", 4096),
            ("1e3", 1000),
        ],
    )
    def test_sizes(self, text, value):
        assert parse_size(text) == value

    @pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "16 QiB", "1,5GiB", f"{9e300:.0f}T"])
    def test_no_sizes(self, text):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            parse_size(text)

    def test_texts(self):
        sizes = (5, 1536, 1000 * 2**20, 3 * 2**30, 2**52)
        texts = ["5 B", "1.5 KiB", "1000 MiB", "3 GiB", "4096 TiB"]
        assert [size_text(x) for x in sizes] == texts
        assert [time_text(x) for x in (2e-6, 0.0123, 4.5, 1234.0)] == [
            "2 us",
            "12.3 ms",
            "4.5 s",
            "1,234 s",
        ]

    @pytest.mark.parametrize(
        ("message", "asked"),
        [
            ("RESOURCE_EXHAUSTED: Out of memory allocating 4378853376 bytes.", 4378853376),
            ("Unable to allocate 8.00 GiB for an array with shape (4, 5)", 2**33),
            ("Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.", 22011707392),
            ("required for HLO temporaries (30.5G) exceeds available HBM (15.75G).", 32749125632),
            ("std::bad_alloc", None),
        ],
    )
    def test_what_was_asked_for(self, message, asked):
        assert memory.bytes_asked(message) == asked
