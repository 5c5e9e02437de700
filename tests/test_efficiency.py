"""Measuring: plans, programs, processes and how they end, limits, searches, records, resuming."""

import dataclasses
import importlib.util
import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra_bench import memory
from lra_bench.efficiency import child, plan, programs, records, summary, supervise, timing
from lra_bench.efficiency.cells import SIZES, Cell
from lra_bench.efficiency.search import LONGEST, STEP, largest
from lra_bench.efficiency.sweep import Effort, Sweep, machine
from lra_bench.efficiency.units import parse_size, size_text, time_text
from lra_bench.errors import UsageError
from lra_bench.files import locked
from lra_bench.flops import count_flops
from lra_bench.progress import Display
from lra_bench.registry import ATTENTIONS

EFFICIENCY = ("efficiency", "--budget", "0.05", "--rounds", "1", "--size", "small")


def cell(attention="linear", length=48, scope="attention", direction="forward", **others):
    """A small cell; `others` are of `plan.Choice`."""
    passes = ("forward",) if scope == "train" else (direction,)
    choice = plan.Choice(
        (attention,), (length,), (scope,), others.pop("sizes", ("small",)), passes, **others
    )
    return plan.cells(choice)[0]


class TestPlan:
    def test_all_combinations_with_identity_last_at_each_length(self):
        choice = plan.Choice(
            ("softmax", "linear"), (64, 32), ("attention", "train"), batches=(2, 3)
        )
        found = [(c.scope, c.batch, c.direction, c.length, c.attention) for c in plan.cells(choice)]
        passes = [("attention", "forward"), ("attention", "backward"), ("train", "step")]
        attentions = ("softmax", "linear", "identity")
        wanted = {
            (scope, batch, direction, length, attention)
            for (scope, direction), batch, length, attention in itertools.product(
                passes, (2, 3), (32, 64), attentions
            )
        }
        assert set(found) == wanted
        assert len(found) == len(wanted)
        for number in range(0, len(found), 3):
            group = found[number : number + 3]
            assert [one[-1] for one in group] == list(attentions)
            assert len({one[:-1] for one in group}) == 1
        assert found[0][3] == 32

    def test_sizes_are_the_papers(self):
        found = cell(scope="model", sizes=("regular",)).config["model"]
        assert {key: found[key] for key in SIZES["regular"]} == SIZES["regular"]
        assert (found["dropout"], found["pooling"]) == (0.0, "mean")

    def test_a_task_has_its_own_length_and_batch(self):
        choice = plan.Choice(("linear",), sizes=("image", "retrieval"), scopes=("train",))
        lengths = {(c.size, c.length, c.batch, c.preset) for c in plan.cells(choice)}
        assert lengths == {("image", 1024, 256, "paper"), ("retrieval", 4000, 32, "paper")}

    def test_options_go_to_those_that_have_them(self):
        choice = plan.Choice(
            ("performer-relu", "softmax"), (8,), overrides=("attention.num_features=7",)
        )
        options = {c.attention: c.config["attention_options"] for c in plan.cells(choice)}
        assert options["performer-relu"]["num_features"] == 7
        assert "num_features" not in options["softmax"]

    def test_layers_and_dtype_reach_the_model(self):
        found = cell(scope="model", layers=(3,), dtypes=("bfloat16",))
        assert (found.layers, found.config["model"]["num_layers"]) == (3, 3)
        assert found.config["model"]["dtype"] == found.dtype == "bfloat16"

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"attentions": ("sofmax",)}, "did you mean 'softmax'"),
            ({"scopes": ("atention",)}, "did you mean 'attention'"),
            ({"sizes": ("txt",)}, "did you mean 'text'"),
            ({"passes": ("step",)}, "valid: forward, backward"),
            ({"dtypes": ("float16",)}, "valid: float32, bfloat16"),
            ({"layers": (2,)}, "--layers goes with --scope model or train"),
            ({"overrides": ("attention.num_feature=3",)}, "did you mean 'attention.num_features'"),
            ({"overrides": ("model.emb_dim=3",)}, "only attention.* can be set"),
            ({"devices": 2}, "2 devices"),
            ({"sizes": ("text",), "preset": "papr"}, "did you mean 'paper'"),
        ],
    )
    def test_what_is_wrong_is_named(self, change, words):
        with pytest.raises(UsageError, match=words.replace("*", r"\*")):
            plan.cells(plan.Choice(**{"lengths": (8,), **change}))


class TestPrograms:
    @pytest.mark.parametrize("name", ATTENTIONS.names())
    def test_each_attention_in_each_scope(self, name):
        """Shapes only: the gradient has those of the parameters and of q, k, v."""
        for scope, direction in (
            ("attention", "forward"),
            ("attention", "backward"),
            ("model", "forward"),
            ("model", "backward"),
            ("train", "step"),
        ):
            layers = () if scope == "attention" else (1,)
            program = programs.build(cell(name, 32, scope, direction, layers=layers))
            specs = programs.Layout(jax.local_devices()[:1]).specs(program)
            out = jax.eval_shape(program.function, *specs)
            shapes = jax.tree.map(lambda x: x.shape, program.params(specs[0]))
            if direction == "backward":
                gradient = out[1]
                of_params = gradient[0] if scope == "attention" else gradient
                assert jax.tree.map(lambda x: x.shape, of_params) == shapes
            if direction == "step":
                assert jax.tree.map(lambda x: x.shape, out[0].params) == shapes

    def test_backward_is_the_gradient(self):
        program = programs.build(cell("linformer", 32, direction="backward"))
        layout = programs.Layout(jax.local_devices()[:1])
        state, (q, k, v, mask, given_) = layout.arrays(program, layout.compile_init(program))
        forward = programs.build(cell("linformer", 32)).function
        out, gradients = jax.jit(program.function)(state, q, k, v, mask, given_)

        def total(params, q, k, v):
            return jnp.sum(forward((params, state[1]), q, k, v, mask) * given_)

        wanted = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(state[0], q, k, v)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradients, wanted)
        np.testing.assert_allclose(out, jax.jit(forward)(state, q, k, v, mask), atol=1e-6)

    def test_tokens_are_real_and_below_the_vocabulary(self):
        program = programs.build(cell(scope="train", direction="step", sizes=("listops",)))
        tokens, labels = (x.draw(np.random.default_rng(0)) for x in program.inputs)
        vocabulary = 16
        assert tokens.shape == (32, 48)
        assert set(np.unique(tokens)) == set(range(1, vocabulary))
        assert labels.max() < 10

    def test_pairs_are_two_documents(self):
        program = programs.build(cell(scope="model", sizes=("retrieval",), batches=(3,)))
        assert program.inputs[0].shape == (3, 2, 48)

    def test_unused_inputs_count(self):
        """Identity reads neither q nor k; they are there nevertheless."""
        layout = programs.Layout(jax.local_devices()[:1])
        program = programs.build(cell("identity"))
        found = child._plan(layout.compile(program, layout.specs(program)))
        assert found["argument_bytes"] >= 3 * 48 * 64 * 4


class TestTiming:
    def clock(self, monkeypatch, seconds):
        """A call that takes `seconds` of a pretended clock, one after the other."""
        now, durations = [0.0], itertools.cycle(seconds)

        def call():
            now[0] += next(durations)

        monkeypatch.setattr(time, "perf_counter", lambda: now[0])
        monkeypatch.setattr(time, "process_time", lambda: 2 * now[0])
        return call

    def test_medians_and_quartiles(self, monkeypatch):
        call = self.clock(monkeypatch, (1.0, 2.0, 3.0, 4.0, 5.0))
        found = timing.measure(call, 3.0, 15.0, "wall")
        assert (found["repeats"], found["calls_per_repeat"]) == (5, 1)
        assert found["wall"] == pytest.approx({"q1": 2.0, "median": 3.0, "q3": 4.0})
        assert found["cpu"] == pytest.approx({"q1": 4.0, "median": 6.0, "q3": 8.0})

    def test_it_ends_when_precise(self, monkeypatch):
        call = self.clock(monkeypatch, (1.0,))
        assert timing.measure(call, 1.0, 6.0, "cpu")["repeats"] == 5
        assert timing.measure(call, 1.0, 60.0, "cpu")["repeats"] == 20  # a third of the budget

    def test_it_goes_on_while_it_is_not(self, monkeypatch):
        call = self.clock(monkeypatch, (1.0, 2.0))
        assert timing.measure(call, 1.0, 100.0, "cpu")["repeats"] > 50

    def test_long_calls_are_few_short_ones_many_together(self, monkeypatch):
        call = self.clock(monkeypatch, (100.0,))
        assert timing.measure(call, 100.0, 10.0, "cpu")["repeats"] == 1
        call = self.clock(monkeypatch, (1e-4,))
        found = timing.measure(call, 1e-4, 1.0, "cpu")
        assert found["calls_per_repeat"] == 200
        assert found["wall"]["median"] == pytest.approx(1e-4)

    def test_few_samples_are_kept_and_of_many_the_distribution(self, monkeypatch):
        call = self.clock(monkeypatch, (3.0, 1.0, 2.0))
        assert timing.measure(call, 2.0, 3.0, "cpu")["samples"]["wall"] == [1.0, 2.0, 3.0, 3.0]
        call = self.clock(monkeypatch, [1.0 + number % 997 / 997 for number in range(1_000)])
        found = timing.measure(call, 1.0, 1e6, "cpu")
        assert found["repeats"] > 200
        assert len(found["samples"]["cpu"]) == 32
        of_kept = timing.spread(found["samples"]["cpu"])
        assert of_kept == pytest.approx(found["cpu"], rel=0.02)

    @given(st.lists(st.lists(st.floats(1e-6, 1e3), min_size=4, max_size=4), min_size=1))
    def test_visits_of_as_many_samples_are_one_sample(self, visits):
        quartiles = np.quantile(np.concatenate(visits), (0.25, 0.5, 0.75), method="hazen")
        found = timing.pooled(visits)
        assert [found["q1"], found["median"], found["q3"]] == pytest.approx(quartiles.tolist())

    def test_visits_count_alike(self):
        """As if the shorter ones had been repeated."""
        visits = ([1.0] * 30, [2.0, 2.0], [7.0])
        assert timing.pooled(visits)["median"] == pytest.approx(2.0, abs=0.2)
        assert timing.pooled(visits) == timing.pooled(visits[::-1])
        assert timing.pooled([[1.0, 3.0], [5.0]])["median"] == pytest.approx(3.0 + 2 / 3)


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
        ],
    )
    def test_sizes(self, text, value):
        assert parse_size(text) == value

    @pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1e3", "16 QiB", "1,5GiB"])
    def test_no_sizes(self, text):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            parse_size(text)

    def test_texts(self):
        assert [size_text(x) for x in (5, 1536, 3 * 2**30)] == ["5 B", "1.5 KiB", "3 GiB"]
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


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep whose processes are pretended: `found(cell)` is the status."""

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
            if verdict == "ok" and budget is not None:
                spread = {"median": 1.0, "q1": 1.0, "q3": 1.0}
                samples = {"wall": [1.0], "cpu": [1.0]}
                result["timing"] = {"wall": spread, "cpu": spread, "samples": samples}
            return {**result, "compile_seconds": 5.0}

        def go(self, *lengths, attentions=("softmax",), find_largest=False, rounds=1, **choices):
            self.measured.clear()
            choice = plan.Choice(attentions, lengths, passes=("forward",), **choices)
            cells = [c for c in plan.cells(choice) if c.attention != "identity"]
            one = Sweep(self.path, "here", Effort(1.0, rounds, 9.0, ""), Display())
            one.run(cells, find_largest=find_largest)
            return one

        def statuses(self):
            lines = records.read(self.path)
            return [(x["cell"]["length"], x["status"], x["inferred_from"]) for x in lines]

        def visits(self):
            lines = records.read(self.path)
            return [(x["round"], x["cell"]["length"], x["status"]) for x in lines]

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
        sweep.path.write_text(json.dumps({**lines[0], "machine": "elsewhere"}) + "\n")
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

    def test_a_line_cut_off_by_a_kill_costs_that_line_only(self, sweep, capsys):
        sweep.go(10, 20, 30)
        text = sweep.path.read_text()
        sweep.path.write_text(text[:-40])
        sweep.go(10, 20, 30)
        assert [length for _, length, _ in sweep.measured] == [30]
        assert "1 of" in capsys.readouterr().err
        assert [n for n, _, _ in sweep.statuses()] == [10, 20, 30]

    def test_what_was_tried_is_not_tried_again_unless_it_failed(self, sweep):
        one, another = sweep.go(10), cell(length=20)
        sweep.found = lambda one: "crashed"
        assert [one.tried(another)["status"] for _ in range(2)] == ["crashed", "crashed"]
        sweep.found = None
        assert [one.tried(another)["status"] for _ in range(2)] == ["ok", "ok"]
        assert [length for _, length, _ in sweep.measured] == [10, 20, 20, 20]

    def test_machines_are_told_apart(self):
        place = {"device_kind": "cpu", "host_cpu": "Fast", "host_cpu_count": 4, "host": "a"}
        place["device_count"] = 1
        assert machine("here", place) != machine("here", {**place, "host": "b"})
        assert machine("here", place) == "1 x Fast, 4 CPU cores, host a"
        assert machine("tpu-v5e", place) == machine("tpu-v5e", {**place, "host": "b"})
        gpu = {**place, "device_kind": "H100"}
        assert machine("here", gpu) == "1 x H100, 4 CPU cores, host a"


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
        assert [line["compile_seconds"] for line in lines] == [5.0, 5.0, None, None]

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
        (row,) = [x for x in summary.rows(records.read(sweep.path)) if x.length == 10]
        assert (row.status, row.rounds) == ("ok", 1 if ends else 3)

    def test_more_of_them_later_are_added(self, sweep):
        sweep.go(10, rounds=2)
        sweep.go(10, rounds=3)
        assert [number for number, _, _ in sweep.visits()] == [1, 2, 3]
        sweep.go(10, rounds=1)
        assert sweep.measured == []

    def test_lines_of_before_there_were_any_are_whole(self, sweep):
        sweep.go(10)
        (line,) = records.read(sweep.path)
        del line["round"], line["timing"]["samples"]
        sweep.path.write_text(json.dumps(line) + "\n")
        sweep.go(10, rounds=3)
        assert sweep.measured == []
        assert sweep.visits() == [(None, 10, "ok")]

    def test_what_is_only_compiled_is_visited_once(self, sweep):
        sweep.go(10, rounds=3, target="tpu-v5e")
        assert len(sweep.measured) == 1

    def test_a_line_cut_off_in_the_second_costs_that_visit(self, sweep, capsys):
        sweep.go(10, 20, rounds=2)
        sweep.path.write_text(sweep.path.read_text()[:-40])
        sweep.go(10, 20, rounds=2)
        assert len(sweep.measured) == 1
        assert "1 of" in capsys.readouterr().err
        assert sweep.visits() == [(r, n, "ok") for r in (1, 2) for n in (10, 20)]


@pytest.fixture
def pretend_child(tmp_path, monkeypatch):
    """Have a shell script in the place of the measuring process."""

    def pretend(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))
        return supervise.measure(cell(), None, 3.0, "")

    return pretend


class TestProcesses:
    def test_crash_hang_kill_and_memory_are_told_apart(self, pretend_child, monkeypatch):
        assert pretend_child("kill -SEGV $$")["error"] == "SIGSEGV"
        failed = pretend_child("echo no such thing >&2; exit 3")
        assert failed["status"] == "crashed"
        assert failed["error"] == "exit status 3: no such thing"
        aborted = pretend_child('echo "what():  std::bad_alloc" >&2; kill -ABRT $$')
        assert aborted["status"] == "out_of_memory"
        killed = pretend_child("kill -9 $$")
        assert (killed["status"], killed["error"]) == ("crashed", "SIGKILL")
        counts = itertools.count()
        monkeypatch.setattr(memory, "kills", lambda: next(counts))
        by_the_system = pretend_child("kill -9 $$")
        assert by_the_system["status"] == "out_of_memory"
        assert "no memory left" in by_the_system["error"]

    def test_a_hung_process_is_ended_with_its_children(self, pretend_child, tmp_path):
        started = time.monotonic()
        found = pretend_child(f"sleep 300 & echo $! > {tmp_path}/pid; wait")
        assert found["status"] == "timed_out"
        assert time.monotonic() - started < 60
        pid = int((tmp_path / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            _wait_for_end(pid)

    def test_what_it_knew_is_kept(self, pretend_child):
        found = pretend_child('echo \'{"status": "crashed", "flops": 7}\' > "$3"; kill -SEGV $$')
        assert (found["flops"], found["status"], found["error"]) == (7, "crashed", "SIGSEGV")

    def test_what_just_fits_fits(self):
        """Inputs are there once: what they were made from is gone when the program runs."""
        one = cell("identity", 2**19, direction="backward")
        estimate = dataclasses.replace(one, target="estimate")
        flags = supervise.PLANNED
        predicted = supervise.measure(estimate, None, 100.0, flags)["memory"]["predicted_bytes"]
        for share, verdict in ((1.0, "ok"), (0.8, "out_of_memory")):
            limited = dataclasses.replace(one, memory_limit=round(share * predicted))
            assert supervise.measure(limited, None, 100.0, flags)["status"] == verdict

    def test_kills_are_counted(self):
        assert memory.kills() >= 0

    def test_an_accelerator_s_share(self, tmp_path, monkeypatch):
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\necho 81920\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "")
        child.limit_allocator(16 * 2**30)
        assert float(os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"]) == pytest.approx(0.2)

    def test_the_limit_holds(self):
        """Arrays below it can be had, above it not; without one, all can again."""
        code = (
            "import numpy as np; from lra_bench import memory\n"
            "memory.give_back_at_once(yes=True); memory.cap(2**28)\n"
            "x = np.ones(2**27, np.uint8); del x\n"
            "try: np.ones(2**29, np.uint8)\n"
            "except MemoryError: print('held', end=' ')\n"
            "memory.cap(None); np.ones(2**29, np.uint8); print('free')\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "held free\n", done.stderr


def _wait_for_end(pid):
    for _ in range(100):
        os.kill(pid, 0)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return tmp_path_factory.mktemp("efficiency")


@pytest.fixture(scope="module")
def done(swept, environment):
    command = [sys.executable, "-m", "lra_bench", *EFFICIENCY, "--attentions", "softmax,linear"]
    command += ["--lengths", "64,2048", "--pass", "forward", "--memory-limit", "64MiB"]
    command += ["--out", str(swept)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


class TestCommand:
    def test_a_sweep(self, done, swept):
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        lines = records.read(swept / records.FILE)
        found = {(x["cell"]["attention"], x["cell"]["length"]): x for x in lines}
        assert len(found) == 6
        ok = found["linear", 2048]
        assert ok["status"] == "ok"
        assert ok["cell"]["memory_limit"] == 64 * 2**20
        assert 0 < ok["timing"]["wall"]["q1"] <= ok["timing"]["wall"]["median"]
        assert ok["timing"]["cpu"]["median"] > 0
        assert ok["compile_seconds"] > 0
        assert ok["environment"]["versions"]["jax"] == jax.__version__
        assert ok["memory"]["method"] == "rss"
        assert ok["memory"]["measured_bytes"] > 0
        program = programs.build(Cell(**ok["cell"]))
        layout = programs.Layout(jax.local_devices()[:1])
        assert ok["flops"] == count_flops(program.function, *layout.specs(program))

    def test_it_shows_tables(self, done):
        assert "| linear " in done.stdout
        assert "efficiency.jsonl" in done.stdout

    def test_again_is_nothing_to_do(self, done, swept, cli):
        args = ("--attentions", "softmax,linear", "--lengths", "64,2048", "--pass", "forward")
        where = ("--memory-limit", "64MiB", "--out", swept)
        before = (swept / records.FILE).read_text()
        status, said, _ = cli(*EFFICIENCY, *args, *where)
        assert status == 0
        assert "6 of 6 cells are there already" in said
        assert (swept / records.FILE).read_text() == before

    def test_out_of_memory_is_a_result(self, cli, tmp_path):
        args = ("--attentions", "softmax", "--lengths", "8192,16384", "--pass", "forward")
        status, said, _ = cli(*EFFICIENCY, *args, "--memory-limit", "128MiB", "--out", tmp_path)
        assert status == 0
        first, *_, last = [
            line
            for line in records.read(tmp_path / records.FILE)
            if line["cell"]["attention"] == "softmax"
        ]
        assert (first["status"], first["inferred_from"]) == ("out_of_memory", None)
        assert first["bytes_asked"] >= 8192**2 * 4
        assert first["memory"]["predicted_bytes"] > 128 * 2**20
        assert (last["status"], last["inferred_from"]) == ("out_of_memory", 8192)
        assert "asks for" in said

    def test_an_estimate_compares_the_plan_with_the_limit(self, cli, tmp_path):
        args = ("--attentions", "softmax", "--lengths", "512,4096", "--pass", "forward")
        where = ("--target", "estimate", "--memory-limit", "64MiB", "--out", tmp_path)
        status, said, _ = cli(*EFFICIENCY, *args, *where)
        assert status == 0
        assert "estimate by the compiler" in said
        lines = records.read(tmp_path / records.FILE)
        for line in lines:
            fits = line["memory"]["predicted_bytes"] <= 64 * 2**20
            assert line["status"] == ("ok" if fits else "out_of_memory")
            assert line["timing"] is None
        assert {line["status"] for line in lines} == {"ok", "out_of_memory"}

    def test_the_largest_length_is_shown(self, cli, sweep, monkeypatch, tmp_path):
        place = {"device_kind": "cpu", "platform": "cpu", "host_cpu": "Fast", "host": "a"}
        place |= {"host_cpu_count": 4, "device_count": 1}
        found = {"bytes": 2**30, "environment": place, "xla_flags": ""}
        monkeypatch.setattr(supervise, "describe", lambda: found)
        sweep.found = lambda one: "ok" if one.length <= 5000 else "out_of_memory"
        args = ("--attentions", "softmax", "--lengths", "1024", "--largest", "--out", tmp_path)
        status, said, _ = cli("efficiency", *args)
        assert status == 0
        assert "largest length that fits" in said
        assert "4,864" in said
        limits = {x["cell"]["memory_limit"] for x in records.read(tmp_path / records.FILE)}
        assert limits == {2**30 * 4 // 5}

    def test_a_kill_leaves_no_process_and_the_rest_is_done_later(self, spawn, tmp_path, cli):
        args = (*EFFICIENCY, "--attentions", "linear", "--lengths", "32", "--pass", "forward")
        args += ("--rounds", "2")
        process = spawn(*args, "--out", tmp_path)
        path = tmp_path / records.FILE
        while not (path.exists() and path.read_text().count("\n") == 3):  # in the second round
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(0.3)  # the next process has begun
        children = _children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for pid in children:
            with pytest.raises(ProcessLookupError):
                _wait_for_end(pid)
        status, said, _ = cli(*args, "--out", tmp_path)
        assert status == 0
        assert "1 of 2 cells are there already" in said
        assert "Over 2 rounds." in said
        lines = records.read(path)
        assert [line["round"] for line in lines] == [1, 1, 2, 2]
        assert [line["compile_seconds"] is None for line in lines] == [False, False, True, True]

    def test_two_at_once_are_refused(self, cli, tmp_path):
        with locked(tmp_path / ".lock", wait=False):
            status, _, err = cli(*EFFICIENCY, "--lengths", "8", "--out", tmp_path)
        assert status == 2
        assert "another sweep" in err

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (("--attentions", "sofmax"), "did you mean 'softmax'"),
            (("--lengths", "512,,1024"), "'' is not a whole number"),
            (("--lengths", "4k"), "'4k' is not a whole number"),
            (("--memory-limit", "lots"), "not a size"),
            (("--memory-limit", "12"), "not a size from 1MiB on"),
            (("--target", "tpu-v9"), "valid: here, estimate, tpu-v4"),
            (("--budget", "0"), "not a number of seconds"),
            (("--out", "README.md"), "is a file"),
            (("--batch", "0"), "not a whole number from 1 on"),
        ],
    )
    def test_mistakes_cost_one_line(self, cli, args, words, repository, monkeypatch):
        monkeypatch.chdir(repository)
        status, _, err = cli("efficiency", *args)
        assert status == 2
        assert err.count("\n") == 1
        assert words in err

    def test_more_devices_than_there_are(self, cli, tmp_path):
        args = ("--lengths", "8", "--devices", "64", "--batch", "64", "--out", tmp_path)
        status, _, err = cli(*EFFICIENCY, "--attentions", "linear", *args)
        assert status == 2
        assert "--devices 64" in err

    def test_eight_devices_share_a_batch(self, environment, tmp_path):
        """Each of them holds an eighth of the inputs."""
        flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
        command = [sys.executable, "-m", "lra_bench", *EFFICIENCY, "--attentions", "linear"]
        command += ["--lengths", "64", "--batch", "8", "--pass", "forward", "--out", str(tmp_path)]
        found = {}
        for devices in ("1", "8"):
            args = [*command, "--devices", devices]
            done = subprocess.run(
                args, env={**environment, **flags}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        for line in records.read(tmp_path / records.FILE):
            if line["cell"]["attention"] == "identity":
                found[line["cell"]["devices"]] = line["memory"]["argument_bytes"]
        assert found[1] == pytest.approx(8 * found[8], rel=0.01)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs lra-bench[tpu]")
def test_a_tpu_that_is_not_there(cli, tmp_path):
    args = ("--attentions", "softmax", "--lengths", "1024,65536", "--pass", "forward")
    status, _, _ = cli(
        "efficiency", *args, "--target", "tpu-v5e", "--size", "regular", "--out", tmp_path
    )
    assert status == 0
    lines = {
        line["cell"]["length"]: line
        for line in records.read(tmp_path / records.FILE)
        if line["cell"]["attention"] == "softmax"
    }
    assert lines[1024]["status"] == "ok"
    assert lines[65536]["status"] == "out_of_memory"
    assert lines[65536]["bytes_asked"] > 16 * 2**30


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="it is there")
def test_without_the_compiler_one_line_says_so(cli):
    status, _, err = cli("efficiency", "--target", "tpu-v5e")
    assert status == 2
    assert "pip install 'lra-bench[tpu]'" in err


def _children(pid):
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def test_a_cell_goes_through_json():
    one = cell("performer-softmax", scope="model")
    assert Cell(**json.loads(json.dumps(one.as_dict()))) == one
    assert dataclasses.replace(one, length=9).as_dict()["length"] == 9
