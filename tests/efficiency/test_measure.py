"""Sweeps without measuring processes: order, rounds, resuming, failures."""

import json
from dataclasses import replace

import pytest
from efficiency_cases import cell

from lra_bench.cli import efficiency
from lra_bench.display.fit import fitted
from lra_bench.display.progress import Display
from lra_bench.efficiency import plan, records, supervise
from lra_bench.efficiency.measure import Effort, Measuring, machine, show
from lra_bench.efficiency.measurement import Measurement
from lra_bench.runtime.environment import Environment
from lra_bench.scaling import rows

PLACE = Environment(
    device_kind="cpu", platform="cpu", host_cpu="Fast", host="a", host_cpu_count=4, device_count=1
)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep that starts no process: `found(cell)` gives the status of each measurement."""

    class Pretended:
        found, measured, programs = {}, [], []

        def __init__(self):
            self.path = tmp_path / records.FILE

        def measure(self, one, budget, time_limit, flags, programs=None):
            self.measured.append((one.attention, one.length, budget))
            verdict = self.found(one) if callable(self.found) else "ok"
            self.programs.append(programs)
            result = {"status": verdict, "memory": {"predicted_bytes": 5, "measured_bytes": 6}}
            result["environment"] = {"platform": "cpu"}
            if verdict == "timed_out":
                result["time_limit"] = time_limit
            if verdict == "ok" and budget is not None:
                spread = {"median": 1.0, "q1": 1.0, "q3": 1.0}
                samples = {"wall": [1.0], "cpu": [1.0]}
                result["timing"] = {"wall": spread, "cpu": spread, "samples": samples}
            blank = Measurement(one, "").as_dict()
            return records.parse({**blank, **result, "compile_seconds": 5.0})

        def go(
            self,
            *lengths,
            attentions=("softmax",),
            find_largest=False,
            rounds=1,
            time_limit=9.0,
            **choices,
        ):
            self.measured.clear()
            choice = plan.Choice(attentions, lengths, passes=("forward",), **choices)
            cells = [c for c in plan.cells(choice) if c.attention != "identity"]
            one = Measuring(self.path, "here", Effort(1.0, rounds, time_limit, ""), Display())
            one.run(cells, find_largest=find_largest)
            return one

        def statuses(self):
            lines = records.read(self.path)
            return [(x.cell.length, x.status, x.inferred_from) for x in lines]

        def visits(self):
            lines = records.read(self.path)
            return [(x.round, x.cell.length, x.status) for x in lines]

    pretended = Pretended()
    monkeypatch.setattr(supervise, "measure", pretended.measure)
    return pretended


class TestSweep:
    def test_longer_lengths_are_concluded(self, sweep):
        sweep.found = lambda one: "ok" if one.length < 20 else "out_of_memory"
        sweep.go(10, 20, 30, 40)
        assert sweep.statuses() == [
            (10, "ok", None),
            (20, "out_of_memory", None),
            (30, "out_of_memory", 20),
            (40, "out_of_memory", 20),
        ]
        assert [length for _, length, _ in sweep.measured] == [10, 20]

    def test_only_those_of_the_same_attention(self, sweep):
        sweep.found = lambda one: "timed_out" if one.attention == "softmax" else "ok"
        sweep.go(10, 20, attentions=("softmax", "linear"))
        assert [(a, n) for a, n, _ in sweep.measured] == [
            ("softmax", 10),
            ("linear", 10),
            ("linear", 20),
        ]

    def test_what_is_there_is_skipped_and_failures_are_tried_again(self, sweep):
        sweep.found = lambda one: {10: "ok", 20: "crashed", 30: "failed"}[one.length]
        assert len(sweep.go(10, 20, 30).failed) == 2
        sweep.found = None
        again = sweep.go(10, 20, 30)
        assert [length for _, length, _ in sweep.measured] == [20, 30]
        assert again.failed == set()
        sweep.go(10, 20, 30)
        assert sweep.measured == []

    def test_lines_of_another_machine_are_not_these(self, sweep):
        sweep.go(10)
        lines = records.read(sweep.path)
        sweep.path.write_text(json.dumps({**lines[0].as_dict(), "machine": "elsewhere"}) + "\n")
        sweep.go(10)
        assert len(sweep.measured) == 1

    def test_the_largest_is_searched_without_timing(self, sweep):
        sweep.found = lambda one: "ok" if one.length <= 5000 else "out_of_memory"
        sweep.go(1024, find_largest=True)
        assert sweep.measured[0] == ("softmax", 1024, 1.0)
        assert {budget for _, length, budget in sweep.measured[1:]} == {None}
        fitting = [n for n, status, _ in sweep.statuses() if status == "ok"]
        ended = [n for n, status, _ in sweep.statuses() if status != "ok"]
        assert max(fitting) <= 5000 < min(ended)
        assert min(ended) - max(fitting) <= max(fitting) / 16
        asked = len(sweep.statuses())
        sweep.go(1024, find_largest=True)
        assert len(sweep.statuses()) == asked
        sweep.go(1024, 2048)
        assert sweep.measured == [("softmax", 2048, 1.0)]  # tried before, but never timed

    def test_the_search_ends_with_time(self, sweep):
        sweep.found = lambda one: "ok" if one.length <= 4096 else "timed_out"
        sweep.go(1024, find_largest=True)
        assert [length for _, length, _ in sweep.measured] == [1024, 2048, 4096, 8192]

    def test_more_time_is_another_chance(self, sweep):
        sweep.found = lambda one: "ok" if one.length < 20 else "timed_out"
        sweep.go(10, 20, 30)
        assert [x.time_limit for x in records.read(sweep.path)] == [None, 9.0, 9.0]
        sweep.go(10, 20, 30, 40, time_limit=8.0)
        assert sweep.measured == []
        sweep.go(10, 20, 30, 40, time_limit=10.0)
        assert [length for _, length, _ in sweep.measured] == [20]
        concluded = [(30, "timed_out", 20), (40, "timed_out", 20)]
        assert sweep.statuses()[-3:] == [(20, "timed_out", None), *concluded]
        sweep.found = None
        sweep.go(10, 20, 30, 40, time_limit=11.0)
        assert [length for _, length, _ in sweep.measured] == [20, 30, 40]

    def test_the_largest_is_searched_with_more_time(self, sweep):
        sweep.found = lambda one: "ok" if one.length <= 4096 else "timed_out"
        sweep.go(1024, find_largest=True)
        sweep.found = lambda one: "ok" if one.length <= 5000 else "out_of_memory"
        sweep.go(1024, find_largest=True, time_limit=10.0)
        assert sweep.measured[0][1] == 8192
        assert max(n for n, status, _ in sweep.statuses() if status == "ok") > 4096

    def test_old_lines_do_not_say_how_much_time_was_too_little(self, sweep):
        sweep.found = lambda one: "timed_out"
        sweep.go(10)
        line = records.read(sweep.path)[0].as_dict()
        del line["time_limit"]
        sweep.path.write_text(json.dumps(line) + "\n")
        sweep.go(10)
        assert len(sweep.measured) == 1

    def test_a_line_cut_off_by_a_kill_costs_that_line_only(self, sweep, capsys):
        sweep.go(10, 20, 30)
        text = sweep.path.read_text()
        sweep.path.write_text(text[:-40])
        sweep.go(10, 20, 30)
        assert [length for _, length, _ in sweep.measured] == [30]
        assert "left out: 1 line of" in capsys.readouterr().err
        assert [n for n, _, _ in sweep.statuses()] == [10, 20, 30]

    def test_what_was_tried_is_not_tried_again_unless_it_failed(self, sweep):
        one, another = sweep.go(10), cell(length=20)
        sweep.found = lambda one: "crashed"
        assert [one.tried(another).status for _ in range(2)] == ["crashed", "crashed"]
        sweep.found = None
        assert [one.tried(another).status for _ in range(2)] == ["ok", "ok"]
        assert [length for _, length, _ in sweep.measured] == [10, 20, 20, 20]

    def test_machines_are_told_apart(self):
        other = replace(PLACE, host="b")
        assert machine("here", PLACE) != machine("here", other)
        assert machine("here", PLACE) == "1 x Fast, 4 CPU cores, host a"
        assert machine("estimate", PLACE) == "estimate by the compiler for Fast, not run"
        assert machine("tpu-v5e", PLACE) == machine("tpu-v5e", other)
        gpu = replace(PLACE, device_kind="H100")
        assert machine("here", gpu) == "1 x H100, 4 CPU cores, host a"
        pinned = replace(PLACE, usable_cores=2)
        assert machine("here", pinned) == "1 x Fast, 2 CPU cores, host a"
        on_gpu = replace(gpu, platform="gpu", usable_cores=2)
        assert machine("here", on_gpu) == machine("here", gpu)


class _Killed(BaseException):
    pass


class TestRounds:
    def test_each_goes_over_all_cells_with_its_share_of_the_budget(self, sweep):
        sweep.go(10, 20, attentions=("softmax", "linear"), rounds=3)
        once = [(name, length, 1 / 3) for length in (10, 20) for name in ("softmax", "linear")]
        assert sweep.measured == 3 * once
        assert [number for number, _, _ in sweep.visits()] == [1] * 4 + [2] * 4 + [3] * 4

    def test_a_cell_finds_its_own_programs_and_only_the_first_compiles(self, sweep):
        sweep.programs.clear()
        sweep.go(10, 20, rounds=2)
        assert sweep.programs[:2] == sweep.programs[2:]
        assert len(set(sweep.programs)) == 2
        assert not sweep.programs[0].parent.exists()
        lines = records.read(sweep.path)
        assert [line.compile_seconds for line in lines] == [5.0, 5.0, None, None]

    @pytest.mark.parametrize("done", range(1, 6))
    def test_a_kill_costs_the_visit_it_came_in(self, sweep, done):
        def found(one):
            if len(sweep.measured) > done:
                raise _Killed
            return "ok"

        sweep.found = found
        with pytest.raises(_Killed):
            sweep.go(10, 20, rounds=3)
        assert len(sweep.visits()) == done
        sweep.found = None
        sweep.go(10, 20, rounds=3)
        assert len(sweep.measured) == 6 - done
        assert sweep.visits() == [(r, n, "ok") for r in (1, 2, 3) for n in (10, 20)]

    @pytest.mark.parametrize("status", ["out_of_memory", "timed_out", "crashed", "failed"])
    def test_what_fails_in_the_second_is_not_visited_in_the_third(self, sweep, status):
        sweep.found = lambda one: status if one.length == 10 and len(sweep.measured) > 3 else "ok"
        first = sweep.go(10, 20, 30, rounds=3)
        assert [x for x in sweep.visits() if x[1] == 10] == [(1, 10, "ok"), (2, 10, status)]
        assert [x for x in sweep.visits() if x[1] == 20] == [(r, 20, "ok") for r in (1, 2, 3)]
        ends = status in ("out_of_memory", "timed_out")
        assert len(first.failed) == (0 if ends else 1)
        sweep.found = None
        assert sweep.go(10, 20, 30, rounds=3).failed == set()
        assert len(sweep.measured) == (0 if ends else 2)
        (row,) = [x for x in rows.from_lines(records.read(sweep.path)) if x.length == 10]
        assert (row.status, row.rounds) == ("ok", 1 if ends else 3)

    def test_what_ran_is_visited_whatever_a_shorter_length_did(self, sweep):
        sweep.go(30)
        sweep.found = lambda one: "timed_out" if one.length == 20 else "ok"
        sweep.go(20, 30, rounds=2)
        assert sweep.visits() == [(1, 30, "ok"), (1, 20, "timed_out"), (2, 30, "ok")]

    def test_more_of_them_later_are_added(self, sweep):
        sweep.go(10, rounds=2)
        sweep.go(10, rounds=3)
        assert [number for number, _, _ in sweep.visits()] == [1, 2, 3]
        sweep.go(10, rounds=1)
        assert sweep.measured == []

    def test_lines_of_before_there_were_any_are_whole(self, sweep):
        sweep.go(10)
        (line,) = (line.as_dict() for line in records.read(sweep.path))
        del line["round"], line["timing"]["samples"]
        sweep.path.write_text(json.dumps(line) + "\n")
        sweep.go(10, rounds=3)
        assert sweep.measured == []
        assert sweep.visits() == [(None, 10, "ok")]

    def test_what_is_only_compiled_is_visited_once(self, sweep, capsys):
        sweep.go(10, rounds=3, target="tpu-v5e")
        assert len(sweep.measured) == 1
        assert "round 1" not in capsys.readouterr().out

    def test_a_line_cut_off_in_the_second_costs_that_visit(self, sweep, capsys):
        sweep.go(10, 20, rounds=2)
        sweep.path.write_text(sweep.path.read_text()[:-40])
        sweep.go(10, 20, rounds=2)
        assert len(sweep.measured) == 1
        assert "left out: 1 line of" in capsys.readouterr().err
        assert sweep.visits() == [(r, n, "ok") for r in (1, 2) for n in (10, 20)]


def test_the_largest_length_is_shown(cli, sweep, monkeypatch, tmp_path):
    host = supervise.Host(devices=1, device_bytes=2**30, environment=PLACE, xla_flags="")
    monkeypatch.setattr(supervise, "describe", lambda target: host)
    sweep.found = lambda one: "ok" if one.length <= 5000 else "out_of_memory"
    args = ("--attentions", "softmax", "--lengths", "1024", "--largest", "--out", tmp_path)
    status, said, _ = cli("efficiency", *args)
    assert status == 0
    assert "largest length that fits" in said
    assert "4,864" in said
    limits = {x.cell.memory_limit for x in records.read(tmp_path / records.FILE)}
    assert limits == {768 * 2**20}


@pytest.mark.parametrize("total", [2**34, 2**34 + 4096, 2**34 - 4096])
def test_a_page_more_or_less_is_the_same_machine(total):
    limit = efficiency._usual_limit(total)
    assert limit == efficiency._usual_limit(2**34) <= 0.8 * total < limit + 2**26
    assert efficiency._usual_limit(2**20) > 0


def test_the_lines_of_cells_fit_80_columns(repository, monkeypatch):
    """All cells that were ever measured or compiled; what failed is told in full."""
    shown = []
    monkeypatch.setattr(Display, "parts", lambda self, parts, shed: shown.append((parts, shed)))
    display = Display()
    for path in records.find([repository / "results"]):
        for line in (line for line in records.read(path) if line.status == "ok"):
            show(line, display)
    assert len(shown) > 500
    lines = ["  ".join(fitted(parts, shed, 80)) for parts, shed in shown]
    assert max(map(len, lines)) <= 80
