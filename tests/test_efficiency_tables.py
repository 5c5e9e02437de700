"""Tables, figures and the report from efficiency records: lines made here, of known laws."""

import copy
import io
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_leaderboard import json_values, make

from lra_bench import figures, published, report
from lra_bench.config import make_settings
from lra_bench.efficiency import groups, plots, records, summary, tables
from lra_bench.efficiency.cells import Cell
from lra_bench.errors import UsageError

LENGTHS = (512, 1_024, 2_048, 4_096, 8_192, 16_384)
CONFIG = {
    "attention_options": {},
    "model": {"num_heads": 8, "head_dim": 64, "emb_dim": 512, "dropout": 0.1},
    "train": {"accumulate": 1, "num_steps": 7},
}
DEFAULTS = {
    "scope": "attention", "size": "regular", "preset": None, "direction": "backward", "batch": 1,
    "dtype": "float32", "layers": None, "devices": 1, "target": "here", "memory_limit": 2**34,
    "config": CONFIG,
}  # fmt: skip


def line(attention="softmax", length=512, seconds=0.01, memory=2**20, status="ok", **changes):
    """A line of one cell; `seconds` None: not timed. CPU time is twice the wall time."""
    fields = {key: changes.pop(key) for key in DEFAULTS if key in changes}
    cell = Cell(attention=attention, length=length, **{**DEFAULTS, **fields})
    made = records.blank(cell, changes.pop("machine", "2 x EPYC, host vm"))
    made["status"] = status
    made["environment"] = {
        "platform": changes.pop("platform", "cpu"),
        "versions": {"jax": "0.10.2", "lra-bench": "0.1.0", "numpy": "2.4.0"},
        "git_commit": "abc",
    }
    if status == "ok" and seconds is not None:
        wall = {"median": seconds / 2, "q1": 0.49 * seconds, "q3": 0.52 * seconds}
        cpu = {"median": seconds, "q1": 0.98 * seconds, "q3": 1.02 * seconds}
        made["timing"] = {"repeats": 7, "calls_per_repeat": 1, "wall": wall, "cpu": cpu}
    if memory is not None:
        measured = memory if status == "ok" and cell.target == "here" else None
        made["memory"] = {"predicted_bytes": round(0.9 * memory), "measured_bytes": measured,
                          "method": "rss"}  # fmt: skip
    made.update(changes)
    return made


def visit(number, cpu):
    """A line of one round; wall time is half the CPU time."""
    made = line(seconds=float(np.median(cpu)), round=number)
    made["timing"]["samples"] = {"cpu": list(cpu), "wall": [value / 2 for value in cpu]}
    made["timing"]["repeats"] = len(cpu)
    return made


def law(attention, factor, power, lengths=LENGTHS, bytes_power=1.0, **changes):
    """Lines of time factor (L / 1024)^power."""
    return [
        line(attention, length, factor * (length / 1024) ** power,
             memory=round(2**20 * (length / 512) ** bytes_power), **changes)
        for length in lengths
    ]  # fmt: skip


def sweep(**changes):
    """Three mechanisms; softmax is out of memory at 8,192, and so beyond, unseen."""
    ended = [
        line("softmax", 8_192, status="out_of_memory", **changes),
        line("softmax", 16_384, status="out_of_memory", memory=None, inferred_from=8_192,
             **changes),
    ]  # fmt: skip
    exact = law("softmax", 0.01, 2.0, LENGTHS[:4], 2.0, **changes) + ended
    return [
        *law("linear", 0.02, 1.0, **changes),
        *law("identity", 0.001, 1.0, **changes),
        *exact,
    ]


def the_group(lines, **options):
    (group,) = groups.groups(summary.rows(lines), **options)
    return group


def table(lines, title, **options):
    """The one table of the group whose title begins so, as {attention: row}."""
    found = [it for it in tables.tables(the_group(lines), **options) if it.title.startswith(title)]
    (it,) = found
    return {row["attention"]: row for row in it.frame.to_dict("records")}, it


class TestRows:
    def test_one_row_a_cell_with_its_figures(self):
        (row,) = summary.rows([line(seconds=0.5, memory=1000)])
        assert (row.attention, row.length, row.exact) == ("softmax", 512, True)
        assert row.cpu == summary.Spread(0.5, 0.49, 0.51)
        assert row.wall == summary.Spread(0.25, 0.245, 0.26)
        assert (row.memory, row.predicted_over_measured) == (1000, 0.9)

    def test_the_last_timed_line_wins(self):
        first, second = line(seconds=1.0), line(seconds=2.0)
        probe = line(seconds=None, status="out_of_memory")
        (row,) = summary.rows([first, second, probe])
        assert (row.status, row.cpu.median) == ("ok", 2.0)

    def test_visits_are_pooled(self):
        """Each counts alike; what was compiled is that of the first."""
        first, second, third = (visit(number, [number] * number) for number in (1, 2, 3))
        first["compile_seconds"], second["memory"]["measured_bytes"] = 4.0, None
        (row,) = summary.rows([first, second, third])
        assert (row.cpu.q1, row.cpu.median, row.cpu.q3) == pytest.approx((4 / 3, 2, 3))
        assert row.wall == summary.Spread(row.cpu.median / 2, row.cpu.q1 / 2, row.cpu.q3 / 2)
        assert (row.rounds, row.repeats, row.compile_seconds) == (3, 6, 4.0)

    def test_one_visit_is_what_it_says(self):
        lone = visit(1, [1.0, 2.0])
        lone["timing"]["cpu"] = {"median": 5.0, "q1": 4.0, "q3": 6.0}
        (row,) = summary.rows([lone])
        assert (row.cpu, row.rounds) == (summary.Spread(5.0, 4.0, 6.0), 1)

    def test_another_sweep_s_first_visit_begins_anew(self):
        lines = [visit(1, [1.0]), visit(2, [1.0]), visit(1, [4.0]), visit(2, [6.0])]
        (row,) = summary.rows(lines)
        assert (row.cpu.median, row.rounds) == (5.0, 2)

    def test_what_ends_in_a_later_visit_keeps_the_others_figures(self):
        ended = line(status="timed_out", memory=None, round=2)
        (row,) = summary.rows([visit(1, [3.0]), ended])
        assert (row.status, row.cpu.median, row.rounds) == ("ok", 3.0, 1)

    def test_without_a_timed_line_the_last_wins(self):
        (row,) = summary.rows([line(seconds=None), line(status="timed_out")])
        assert (row.status, row.wall) == ("timed_out", None)

    def test_memory_of_a_probe_is_kept_where_the_timed_line_has_none(self):
        probe, timed = line(seconds=None, memory=77), line(memory=None)
        (row,) = summary.rows([probe, timed])
        assert row.memory == 77
        assert row.wall is not None

    def test_options_that_are_not_defaults_are_in_the_label(self):
        config = make_settings(
            "text", "performer-relu", "small", 0, ["attention.num_features=64"]
        ).as_dict()
        usual = make_settings("text", "performer-relu", "small", 0).as_dict()
        lines = [line("performer-relu", config=config), line("performer-relu", config=usual)]
        labels = {row.label for row in summary.rows(lines)}
        assert labels == {"performer-relu (num_features=64)", "performer-relu"}

    def test_a_third_party_name_is_no_exact_one(self):
        (row,) = summary.rows([line("nowhere-to-be-found")])
        assert (row.label, row.exact) == ("nowhere-to-be-found", False)


class TestFit:
    @given(st.floats(0.1, 3), st.floats(1e-6, 1e3), st.integers(3, 8))
    def test_a_power_law_is_recovered(self, power, factor, count):
        lengths = [2_048 * 2**i for i in range(count)]
        fit = summary.fit_exponent(lengths, [factor * x**power for x in lengths])
        assert fit.exponent == pytest.approx(power, rel=1e-9)
        assert fit.half_width < 1e-6
        assert fit.points == count

    @given(st.permutations([(2_048, 1.0), (4_096, 2.5), (8_192, 4.0), (16_384, 9.0)]))
    def test_it_is_that_of_scipy(self, pairs):
        lengths, values = zip(*pairs, strict=True)
        fit = summary.fit_exponent(lengths, values)
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
        fits = [summary.fit_exponent(lengths, list(row)) for row in values]
        covered = [abs(fit.exponent - 1.3) <= fit.half_width for fit in fits]
        assert np.mean(covered) == pytest.approx(0.95, abs=0.0195)

    def test_quantiles_are_student_s(self):
        known = [stats.t.ppf(0.975, freedom) for freedom in range(1, 21)]
        assert summary._T == pytest.approx(known, abs=5e-4)

    def test_short_lengths_are_left_out(self):
        lengths = [256, 512, 1_024, 2_048, 4_096, 8_192]
        values = [1, 1, 1, 1, 2, 4]
        assert summary.fit_exponent(lengths, values).exponent == pytest.approx(1)

    def test_the_longest_four_do_where_few_are_long(self):
        fit = summary.fit_exponent([64, 128, 256, 512, 1_024, 2_048], [9, 9, 1, 2, 4, 8])
        assert (fit.exponent, fit.points) == (pytest.approx(1), 4)

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_two_points_say_nothing(self, count):
        assert summary.fit_exponent([2_048, 4_096][:count], [1, 2][:count]) is None


class TestCrossover:
    @given(st.floats(600, 16_000))
    def test_power_laws_cross_where_they_do(self, where):
        """Lines in log-log: interpolation is exact."""
        one = [1.0 * x for x in LENGTHS]
        other = [x**2 / where for x in LENGTHS]
        found = summary.crossover(LENGTHS, one, other)
        assert (found.side, found.length) == ("at", pytest.approx(where))

    def test_outside_the_lengths(self):
        fast, slow = [1.0, 2.0], [3.0, 4.0]
        assert str(summary.crossover([512, 1_024], fast, slow)) == "below 512"
        assert str(summary.crossover([512, 1_024], slow, fast)) == "above 1,024"
        assert summary.crossover([], [], []) is None

    def test_the_last_change_counts(self):
        found = summary.crossover([1_000, 2_000, 4_000, 8_000], [1, 4, 4, 4], [2, 2, 2, 8])
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
        assert str(summary.largest(summary.rows(lines))) == text

    def test_nothing_fits(self):
        lines = [line(length=x, status="out_of_memory") for x in (512, 1_024)]
        assert str(summary.largest(summary.rows(lines))) == "< 512"

    def test_probes_count_here_and_make_no_column(self):
        lines = [*sweep(), line("softmax", 6_144, seconds=None)]
        growth, _ = table(lines, "growth")
        assert growth["softmax"]["largest length that fits"] == "6,144 to 8,192"
        for title in ("median", "peak"):
            _, it = table(lines, title)
            assert not any("6,144" in name for name in it.frame.columns)


class TestTables:
    def test_times_with_signs_for_what_did_not_run(self):
        lines = [*sweep(), line("linformer", 16_384, status="timed_out"), line("linformer"),
                 line("reformer", status="crashed")]  # fmt: skip
        rows, it = table(lines, "median CPU time")
        assert list(it.frame.columns) == [
            "attention", "512 (ms)", "1,024 (ms)", "2,048 (ms)", "4,096 (ms)", "8,192 (ms)",
            "16,384 (ms)",
        ]  # fmt: skip
        assert list(rows["softmax"].values())[1:] == ["2.50", "10.0", "40.0", "160", "OOM", "OOM*"]
        assert rows["linear"]["16,384 (ms)"] == "320"
        assert rows["linformer"]["16,384 (ms)"] == "> time limit"
        assert rows["reformer"]["512 (ms)"] == "crashed"
        for note in ("OOM: out of", "concluded from a shorter", "> time limit:", "crashed:"):
            assert note in it.notes

    def test_signs_that_are_not_there_are_not_explained(self):
        _, it = table(law("linear", 0.02, 1.0), "median")
        assert it.notes == (
            "CPU time is of all threads together. Quartiles lie at most 4% of the median apart."
        )

    def test_rounds_are_said(self):
        _, it = table([visit(1, [1.0, 1.0]), visit(2, [2.0, 2.0])], "median")
        assert it.notes.endswith("Quartiles lie at most 67% of the median apart. Over 2 rounds.")

    def test_devices_go_by_wall_time(self):
        rows, _ = table(sweep(platform="gpu", machine="1 x H100"), "median wall time")
        assert rows["linear"]["16,384 (ms)"] == "160"

    def test_units_suit_the_column(self):
        rows, it = table(law("linear", 100.0, 1.0, (512, 1_024)), "median")
        assert rows["linear"] == {"attention": "linear", "512 (s)": "50.0", "1,024 (s)": "100"}
        _, it = table(law("linear", 2e-5, 1.0, (512,)), "median")
        assert list(it.frame.columns)[1:] == ["512 (µs)"]

    def test_exact_first_then_the_fastest_and_identity_last(self):
        lines = [*sweep(), *law("reformer", 0.001, 1.1), *law("softmax-chunked", 0.1, 1.9)]
        names = list(table(lines, "median")[0])
        assert names == ["softmax-chunked", "softmax", "reformer", "linear", "identity (OPT)"]

    def test_ratios(self):
        relative, _ = table(sweep(), "time relative to identity")
        assert relative["linear"]["512"] == "20.0"
        assert relative["identity (OPT)"]["16,384"] == "1.00"
        speedup, _ = table(sweep(), "speed-up")
        assert speedup["softmax"]["4,096"] == "1.00"
        assert speedup["linear"]["4,096"] == "2.00"
        assert speedup["linear"]["512"] == "0.250"
        assert "8,192" not in speedup["linear"]

    def test_speed_up_is_over_the_fastest_exact_one(self):
        lines = [*sweep(), *law("softmax-chunked", 0.005, 2.0)]
        rows, _ = table(lines, "speed-up")
        assert rows["linear"]["4,096"] == "1.00"
        assert rows["softmax"]["4,096"] == "0.500"
        assert rows["linear"]["16,384"] == "4.00"

    def test_memory_measured_or_marked_as_predicted(self):
        lines = law("linear", 0.02, 1.0)
        lines[-1]["memory"]["measured_bytes"] = None
        rows, it = table(lines, "peak memory")
        assert rows["linear"]["512 (MiB)"] == "1.00"
        assert rows["linear"]["16,384 (MiB)"] == "~28.8"
        assert "~: predicted" in it.notes
        assert "resident set" in it.notes

    def test_growth(self):
        rows, it = table(sweep(), "growth")
        assert rows["linear"]["time exponent"] == "1.00 ± 0.00"
        assert rows["softmax"]["time exponent"] == "2.00 ± 0.00"
        assert rows["linear"]["memory exponent"] == "1.00 ± 0.00"
        assert rows["softmax"]["memory exponent"] == "2.00 ± 0.00"
        assert rows["linear"]["beats softmax from"] == "2,048"
        assert rows["identity (OPT)"]["beats softmax from"] == ""
        assert rows["softmax"]["largest length that fits"] == "4,096 to 8,192"
        assert rows["linear"]["predicted / measured"] == "0.90"
        assert "95 % confidence" in it.notes
        assert it.notes.startswith("Time is CPU time of all threads.")

    def test_facts(self):
        facts = the_group(law("linear", 0.02, 1.0)).facts
        assert facts == (
            "2 x EPYC, host vm: batch 1, float32, 1 device, memory limit 16 GiB, num_heads 8, "
            "head_dim 64. jax 0.10.2, lra-bench 0.1.0."
        )

    def test_mixed_versions_are_said(self):
        other = line("linear")
        other["environment"]["versions"] = {"jax": "0.12.0", "lra-bench": "0.1.0"}
        facts = the_group([line(), other]).facts
        assert facts.endswith("jax 0.10.2, lra-bench 0.1.0; jax 0.12.0, lra-bench 0.1.0.")


class TestGroups:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"machine": "1 x H100"}, "1 x H100"),
            ({"direction": "forward"}, "attention alone, forward, regular"),
            ({"scope": "model", "layers": 6}, "whole model"),
            ({"size": "small"}, "small"),
            ({"batch": 8}, "batch 8"),
            ({"dtype": "bfloat16"}, "bfloat16"),
            ({"devices": 4}, "4 devices"),
            ({"memory_limit": 2**33}, "memory limit 8 GiB"),
            ({"memory_limit": None}, "no memory limit"),
            ({"target": "tpu-v5e", "machine": "tpu-v5e, compiled for"}, "tpu-v5e"),
            ({"config": {**CONFIG, "model": {**CONFIG["model"], "num_heads": 1}}}, "num_heads 1"),
        ],
    )
    def test_other_settings_are_other_tables(self, change, said):
        lines = [*law("linear", 0.02, 1.0), *law("softmax", 0.02, 1.0, **change)]
        found = groups.groups(summary.rows(lines))
        assert len(found) == 2
        assert len({group.title for group in found}) == 2
        (other,) = [group for group in found if group.labels() == ["softmax"]]
        assert said in other.title

    def test_attention_length_and_what_the_program_does_not_read_are_no_settings(self):
        config = {**CONFIG, "train": {"accumulate": 1, "num_steps": 8}, "seed": 5}
        lines = [*law("linear", 0.02, 1.0), *law("softmax", 0.02, 1.0, config=config)]
        assert the_group(lines).labels() == ["softmax", "linear"]

    def test_layers_are_told_apart_whatever_the_configuration_says(self):
        lines = [it for n in (2, 4) for it in law("linear", 0.02, 1.0, scope="model", layers=n)]
        titles = [group.title for group in groups.groups(summary.rows(lines))]
        assert [title[-8:] for title in titles] == ["2 layers", "4 layers"]

    def test_machines_mix_when_asked(self):
        lines = [*sweep(), *sweep(machine="1 x H100", platform="gpu")]
        group = the_group(lines, mix_machines=True)
        assert group.clock == "wall"
        assert group.labels()[-1] == "identity @ 2 x EPYC, host vm"
        (relative,) = [it for it in tables.tables(group) if "relative" in it.title]
        rows = {row["attention"]: row for row in relative.frame.to_dict("records")}
        assert rows["identity (OPT) @ 1 x H100"]["512"] == "1.00"

    def test_tasks_of_one_length_each_are_columns(self):
        tasks = {"listops": 2_000, "text": 4_000, "image": 1_024}
        changes = {"scope": "train", "direction": "step", "preset": "paper", "target": "tpu-v5e",
                   "machine": "tpu-v5e, compiled for and not run", "layers": 4}  # fmt: skip
        lines = [
            line("linear", length, None, 2**30, size=task, batch=8 if task == "text" else 32,
                 **changes)
            for task, length in tasks.items()
        ]  # fmt: skip
        asks = line("softmax", 4_000, memory=20 * 2**30, status="out_of_memory", size="text",
                    batch=8, **changes)  # fmt: skip
        rows, it = table([*lines, asks], "peak memory")
        assert list(it.frame.columns)[1:] == [
            "image 1,024 (GiB)", "listops 2,000 (GiB)", "text 4,000 (GiB)",
        ]  # fmt: skip
        assert rows["linear"]["text 4,000 (GiB)"] == "0.900"
        assert rows["softmax"]["text 4,000 (GiB)"] == "no: asks for 18 GiB"
        assert rows["softmax"]["image 1,024 (GiB)"] == ""
        assert "batch 32 | 8" in the_group([*lines, asks]).facts

    def test_what_was_only_compiled_has_operations_and_no_times(self):
        changes = {"target": "estimate", "machine": "estimate, not run", "seconds": None}
        lines = [line("linear", x, flops=1e9 * x, xla_bytes=2**30, **changes) for x in LENGTHS]
        found = {it.title: it.frame for it in tables.tables(the_group(lines))}
        assert list(found) == [
            "peak memory of a device, by the compiler", "operations", "bytes read and written",
            "growth with the length",
        ]  # fmt: skip
        assert found["operations"]["512 (TFLOP)"].tolist() == ["0.512"]
        assert found["bytes read and written"]["512 (GiB)"].tolist() == ["1.00"]


def paper_lines():
    """The LRA paper's Table 2 as records; its models under names of ours where there are any."""
    ours = {"Transformer": "softmax", "Linear Trans.": "linear"}
    return [
        line(ours.get(row.model, row.model.lower()), 1024 * k, 2 / speed,
             round(1e9 * row.gigabytes[k]), scope="train", direction="step", size="text",
             preset="paper", layers=6, batch=32)
        for row in published.speeds()
        for k, speed in row.steps_per_second.items()
    ]  # fmt: skip


class TestTableTwo:
    def test_the_paper_s_ratios_come_out(self):
        """What is printed is rounded: the ratio lies where rounded speeds can have it."""
        rows, _ = table(paper_lines(), "steps a second")
        wrong = []
        for row in published.speeds():
            name = {"Transformer": "softmax", "Linear Trans.": "linear"}.get(row.model)
            for k, printed in row.relative.items():
                text = rows[name or row.model.lower()][f"{1024 * k:,}"]
                speed, ratio = re.fullmatch(r"([\d.]+) \(([\d.]+)\)", text).groups()
                assert float(speed) == pytest.approx(row.steps_per_second[k])
                if abs(float(ratio) - printed) > 0.0501:
                    wrong.append((row.model, k, float(ratio), printed))
        assert wrong == []

    def test_memory_is_the_paper_s(self):
        rows, _ = table(paper_lines(), "peak memory")
        assert list(rows["softmax"].values())[1:] == ["0.85", "2.65", "5.51", "9.48"]

    def test_published_rows_stand_below(self):
        changes = {"scope": "train", "direction": "step", "size": "text", "preset": "paper"}
        lines = law("softmax", 0.02, 2.0, (1_024, 2_000, 4_096, 8_192), layers=4, **changes)
        rows, it = table(lines, "steps a second", with_published=True)
        assert list(it.frame.columns) == ["attention", "1,024", "2,000", "3,000", "4,096", "8,192"]
        assert rows["Performer [LRA paper]"] == {
            "attention": "Performer [LRA paper]", "1,024": "9.5 (1.2)", "2,000": "9.4 (1.9)",
            "3,000": "8.7 (3.8)", "4,096": "8.0 (5.7)", "8,192": "",
        }  # fmt: skip
        assert rows["softmax"]["1,024"] == "100 (1.00)"
        assert "4x4 TPU v3" in it.notes
        assert "misprints" in it.notes

    def test_our_rows_alone_say_nothing_of_the_paper(self):
        _, it = table(paper_lines(), "steps a second")
        assert "LRA paper" not in it.frame.to_string() + it.notes


class TestRender:
    def test_csv_parses_back(self):
        lines = [*sweep(), *paper_lines()]
        text = tables.render(lines, "csv", with_published=True)
        found = pd.read_csv(io.StringIO(text))
        assert set(found.source) == {"here", "LRA paper"}
        here = found[(found.source == "here") & (found.scope == "attention")]
        assert len(here) == len(sweep())
        one = here[(here.attention == "linear") & (here.length == 1_024)].iloc[0]
        assert (one.cpu_seconds, one.wall_seconds, one.wall_seconds_q1) == (0.02, 0.01, 0.0098)
        assert (one.measured_bytes, one.memory_limit) == (2**21, 2**34)
        ended = here[(here.attention == "softmax") & (here.length == 16_384)].iloc[0]
        assert (ended.status, ended.inferred_from) == ("out_of_memory", 8_192)
        assert math.isnan(ended.cpu_seconds)
        paper = found[(found.source == "LRA paper") & (found.attention == "Performer")]
        assert (1 / paper.wall_seconds).tolist() == pytest.approx([9.5, 9.4, 8.7, 8.0])

    def test_html_is_well_formed(self):
        text = tables.render(sweep(), "html", with_published=False)
        root = ElementTree.fromstring(f"<body>{text}</body>")
        assert len(root.findall(".//table")) == 5
        assert "attention alone, forward and backward, regular" in root.find("h3").text

    def test_latex_is_escaped(self):
        lines = [*sweep(), line("linformer", 16_384, status="timed_out")]
        text = tables.render(lines, "latex", with_published=False)
        assert "$>$ time limit" in text
        assert r"95 \% confidence" in text
        assert text.count(r"\begin{") == text.count(r"\end{") == 10

    def test_markdown_has_as_many_cells_in_each_row(self):
        text = tables.render(sweep(), "markdown", with_published=False)
        for part in text.split("### ")[1:]:
            counts = {row.count("|") for row in part.splitlines() if row.startswith("|")}
            assert len(counts) == 1

    def test_garbage_is_left_out_with_a_word(self, tmp_path, capsys):
        whole = [json.dumps(it) for it in law("linear", 0.02, 1.0)]
        texts = [
            *whole,
            whole[0][:-40],
            '{"schema": 1}',
            "[]",
            "",
            json.dumps({**line(), "schema": 9}),
        ]
        (tmp_path / records.FILE).write_text("\n".join(texts))
        found = records.collect([tmp_path])
        assert len(found) == len(whole)
        assert "left out: 4 of" in capsys.readouterr().err
        assert "linear" in tables.render(found, "markdown", with_published=False)

    @settings(deadline=None)
    @given(data=st.data())
    def test_whatever_stands_under_a_key_a_line_is_shown_or_left_out(self, data, tmp_path_factory):
        broken = copy.deepcopy(data.draw(st.sampled_from(sweep())))
        group, key = broken, data.draw(st.sampled_from(sorted(broken)))
        while isinstance(group[key], dict) and group[key] and data.draw(st.booleans()):
            group = group[key]
            key = data.draw(st.sampled_from(sorted(group)))
        group[key] = data.draw(json_values)
        file = tmp_path_factory.mktemp("e") / records.FILE
        file.write_text("\n".join(json.dumps(it) for it in [*sweep(), broken]))
        found = records.read(file)
        assert len(found) >= len(sweep())
        tables.render(found, "markdown", with_published=True)
        tables.render(found, "csv", with_published=True)
        report._provenance(report.Material([], found, {}))


class TestFigures:
    def test_time_and_memory_of_both_passes(self):
        found = plots.plots(groups.groups(summary.rows([*sweep(), *sweep(direction="forward")])))
        assert [plot.name for plot in found] == ["time", "memory"]
        titles = [axes.get_title() for axes in found[0].figure.axes]
        assert titles == ["forward", "forward and backward"]

    def test_what_is_drawn(self):
        """Medians at their lengths; a cross where softmax ends; identity dashed and black."""
        time, memory = plots.plots([the_group(sweep())])
        drawn = {
            (it.get_color(), it.get_marker()): it.get_xydata() for it in time.figure.axes[0].lines
        }
        crosses = [xy for (_, marker), xy in drawn.items() if marker == "x"]
        assert np.concatenate(crosses).tolist() == [[4_096, 0.16]]
        identity = time.figure.axes[0].lines
        (line_,) = [
            it for it in identity if it.get_color() == "black" and it.get_linestyle() == "--"
        ]
        assert line_.get_xydata().tolist()[0] == [512, 0.0005]
        names = [text.get_text() for text in time.figure.legends[0].get_texts()]
        assert names == ["softmax", "linear", "X (OPT)", "out of memory beyond"]
        heights = {it.get_ydata()[0] for it in memory.figure.axes[0].lines
                   if len(set(it.get_ydata())) == 1}  # fmt: skip
        assert 16.0 in heights

    def test_no_cross_where_something_longer_ran(self):
        lines = [*law("linear", 0.02, 1.0), line("linear", 1_500, status="out_of_memory")]
        time, _ = plots.plots([the_group(lines)])
        assert not [it for it in time.figure.axes[0].lines if it.get_marker() == "x"]

    def test_time_by_layers(self):
        lines = [
            it for n in (2, 4, 6) for it in law("linear", n * 0.01, 1.0, scope="model", layers=n)
        ]
        found = plots.plots(groups.groups(summary.rows(lines)))
        (layers,) = [plot for plot in found if plot.name == "layers"]
        (drawn,) = layers.figure.axes[0].lines
        assert drawn.get_xydata().tolist() == [[2, 0.32], [4, 0.64], [6, 0.96]]
        assert layers.figure.axes[0].get_title() == "forward and backward, L = 16,384"
        assert len({plot.name for plot in found}) == len(found) == 7

    def test_many_mechanisms_have_looks_of_their_own(self):
        looks = {
            (it["color"], it["marker"], str(it["linestyle"]))
            for it in (figures.series_style(index) for index in range(81))
        }
        assert len(looks) == 81

    def test_exact_lines_are_broken_and_of_other_colours(self):
        exact, others = ("softmax", "softmax-chunked", "softmax-fused"), ("linear", "x", "y", "z")
        lines = [it for name in (*exact, *others) for it in law(name, 0.01, 1.0)]
        looks = plots._styles([the_group(lines)])
        assert len({look["color"] for look in looks.values()}) == 7
        assert {name for name, look in looks.items() if look["linestyle"] != "-"} == set(exact)

    def test_svg_and_png(self, tmp_path):
        time, _ = plots.plots([the_group(sweep())])
        for name in ("a.svg", "b.svg", "a.png"):
            figures.save(time.figure, tmp_path / name)
        assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
        assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"

    def test_inline_svg_has_ids_and_colours_of_the_page(self):
        time, _ = plots.plots([the_group(sweep())])
        text = figures.inline_svg(time.figure, "one", 'a "b" <c>')
        root = ElementTree.fromstring(text)
        assert root.attrib["aria-label"] == "a b c"
        ids = [it.attrib["id"] for it in root.iter() if "id" in it.attrib]
        assert all(name.startswith("one-") for name in ids)
        used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
        assert used <= set(ids)
        assert "var(--c0, #0072B2)" in text
        assert "#0072b2" not in text


class _Page(HTMLParser):
    """What a page points to, its text, and whether its elements nest."""

    VOID = frozenset({"meta", "br", "link", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.ids, self.headings = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "xlink:href")]
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture
def both(tmp_path):
    """A folder with run records and efficiency records."""
    (tmp_path / "in/run").mkdir(parents=True)
    (tmp_path / "in/run/record.json").write_text(json.dumps(make()))
    lines = [*sweep(), *sweep(direction="forward")]
    (tmp_path / "in" / records.FILE).write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path / "in"


class TestReport:
    def test_one_page_of_all_that_needs_nothing(self, both, cli, tmp_path):
        status, out, err = cli("report", both, "--out", tmp_path / "out")
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            str(tmp_path / "out" / name) for name in ("index.html", "time.png", "memory.png")
        ]
        text = (tmp_path / "out/index.html").read_text()
        page = _Page(text)
        assert page.open == []
        assert page.links
        assert all(link.startswith("#") for link in page.links)
        assert {link[1:] for link in page.links} <= set(page.ids)
        assert len(page.ids) == len(set(page.ids))
        assert not re.search(r"https?:|@import|url\((?!#)", text)
        assert page.headings == [
            "Accuracy", "Speed and memory: attention alone, regular, 2 x EPYC, host vm",
            "Where this comes from",
        ]  # fmt: skip
        for shown in ("prefers-color-scheme: dark", "jax 0.10.2", "4 x TPU v5", "<svg", "OOM*",
                      f"{both / records.FILE}", "preset mini"):  # fmt: skip
            assert shown in text

    def test_the_same_records_give_the_same_page(self, both, cli, tmp_path):
        for name in ("a", "b"):
            assert cli("report", both, "--out", tmp_path / name)[0] == 0
        assert (tmp_path / "a/index.html").read_text() == (tmp_path / "b/index.html").read_text()

    @pytest.mark.parametrize("kind", ["run/record.json", "efficiency.jsonl"])
    def test_either_kind_alone_does(self, both, cli, tmp_path, kind):
        status, _, err = cli("report", both / kind, "--out", tmp_path / "out")
        assert (status, err) == (0, "")
        text = (tmp_path / "out/index.html").read_text()
        assert ("preset mini" in text) == (kind == "run/record.json")
        assert ("<svg" in text) == (kind == "efficiency.jsonl")

    def test_markup_in_a_record_stays_text(self, tmp_path, cli):
        lines = law("<script>alert(1)</script>", 0.01, 1.0, machine="<b>&")
        (tmp_path / records.FILE).write_text("\n".join(map(json.dumps, lines)))
        assert cli("report", tmp_path, "--out", tmp_path / "out")[0] == 0
        text = (tmp_path / "out/index.html").read_text()
        assert "<script" not in text
        assert "<b>" not in text
        assert _Page(text).open == []

    def test_out_that_is_a_file_is_refused(self, both, cli, tmp_path):
        (tmp_path / "out").write_text("mine")
        status, _, err = cli("report", both, "--out", tmp_path / "out")
        assert (status, err) == (2, f"lra-bench: --out {tmp_path / 'out'} is a file\n")
        assert (tmp_path / "out").read_text() == "mine"

    def test_nothing_there_is_said_and_nothing_written(self, cli, tmp_path):
        (tmp_path / "in").mkdir()
        for folder, said in (("in", "no records in"), ("away", "no folder")):
            status, _, err = cli("report", tmp_path / folder, "--out", tmp_path / "out")
            assert status == 2
            assert said in err
        assert not (tmp_path / "out").exists()

    def test_a_broken_record_is_named_and_left_out(self, both, cli, tmp_path):
        (both / "run/record.json").write_text("{")
        status, _, err = cli("report", both, "--out", tmp_path / "out")
        assert status == 0
        assert "left out" in err
        assert "preset mini" not in (tmp_path / "out/index.html").read_text()

    def test_material_is_counted(self, both):
        material = report.gather([both])
        assert list(material.files.values()) == [1, len(material.lines)]
        with pytest.raises(UsageError):
            report.gather([both / "away"])


class TestCommand:
    def test_accuracy_is_the_default(self, both, cli):
        status, out, _ = cli("table", both)
        assert (status, out[:15]) == (0, "### preset mini")

    def test_efficiency_by_name_or_where_there_is_nothing_else(self, both, cli):
        status, out, _ = cli("table", both, "--kind", "efficiency")
        assert status == 0
        assert out.startswith("### attention alone, forward, regular")
        (both / "run/record.json").unlink()
        assert cli("table", both) == (status, out, "")
        assert cli("table", both / records.FILE) == (status, out, "")

    def test_mix_machines(self, tmp_path, cli):
        lines = [*sweep(), *sweep(machine="1 x H100")]
        (tmp_path / records.FILE).write_text("\n".join(map(json.dumps, lines)))
        apart, mixed = cli("table", tmp_path)[1], cli("table", tmp_path, "--mix-machines")[1]
        assert (apart.count("### "), mixed.count("### ")) == (10, 5)
        assert "linear @ 1 x H100" in mixed
        assert " @ " not in apart

    def test_mix_machines_is_for_efficiency(self, both, cli):
        status, _, err = cli("table", both, "--mix-machines")
        assert status == 2
        assert "--kind efficiency" in err

    def test_nothing_there(self, cli, tmp_path):
        assert cli("table", tmp_path)[0] == 2
        status, _, err = cli("table", tmp_path, "--kind", "efficiency")
        assert status == 2
        assert "no efficiency records in" in err


def test_a_task_that_few_were_compiled_for_is_shown():
    """Unlike a length that few were tried at, which is a probe of the largest that fits."""
    place = {"scope": "train", "direction": "step", "preset": "paper", "target": "tpu-v5e"}
    lines = [line(x, 1_024, None, size="image", **place) for x in ("softmax", "linear", "reformer")]
    lines.append(line("softmax", 2_000, None, size="listops", **place))
    text = tables.render(lines, "markdown", with_published=False)
    assert "image 1,024" in text
    assert "listops 2,000" in text
