"""Tables from lines that follow known laws."""

import copy
import io
import json
import math
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from efficiency_cases import (
    CONFIG,
    LENGTHS,
    law,
    line,
    measured,
    parsed,
    sweep,
    table,
    the_group,
    visit,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import json_values

from lra_bench import published
from lra_bench.efficiency import records
from lra_bench.report import provenance
from lra_bench.report.inputs import Inputs
from lra_bench.scaling import groups, tables


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

    def test_a_table_has_one_unit(self):
        lines = [*law("linear", 100.0, 1.0, (512, 1_024)), *law("reformer", 0.001, 1.0, (512,))]
        rows, it = table(lines, "median")
        assert list(it.frame.columns)[1:] == ["512 (s)", "1,024 (s)"]
        assert (rows["linear"]["1,024 (s)"], rows["reformer"]["512 (s)"]) == ("100", "0.000500")

    def test_the_unit_suits_the_figures(self):
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
            "2 x EPYC: batch 1, float32, 1 device, memory limit 16 GiB, num_heads 8, "
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
        found = groups.groups(measured(lines))
        assert len(found) == 2
        assert len({group.title for group in found}) == 2
        (other,) = [group for group in found if group.labels() == ["softmax"]]
        assert said in other.title

    @pytest.mark.parametrize(
        ("group", "setting", "said"),
        [
            ("model", {"remat": True}, "remat True"),
            ("model", {"activation": "gelu-erf"}, "activation gelu-erf"),
            ("model", {"dropout_bits": "rbg"}, "dropout_bits rbg"),
            ("train", {"clip_value": 1.0}, "clip_value 1.0"),
        ],
    )
    def test_unusual_settings_are_other_tables(self, group, setting, said):
        """Records of the usual ones, which may be older than the setting, stay as they are."""
        usual = {**CONFIG, "train": {"accumulate": 1}}
        unusual = {**usual, group: {**usual[group], **setting}}
        pairs = (("linear", usual), ("softmax", unusual))
        lines = [
            each
            for name, config in pairs
            for each in law(name, 0.02, 1.0, scope="train", config=config)
        ]
        titles = {group.labels()[0]: group.title for group in groups.groups(measured(lines))}
        assert said in titles["softmax"]
        assert said not in titles["linear"]

    def test_attention_length_and_what_the_program_does_not_read_are_no_settings(self):
        config = {**CONFIG, "train": {"accumulate": 1, "num_steps": 8}, "seed": 5}
        lines = [*law("linear", 0.02, 1.0), *law("softmax", 0.02, 1.0, config=config)]
        assert the_group(lines).labels() == ["softmax", "linear"]

    def test_layers_are_told_apart_whatever_the_configuration_says(self):
        lines = [it for n in (2, 4) for it in law("linear", 0.02, 1.0, scope="model", layers=n)]
        titles = [group.title for group in groups.groups(measured(lines))]
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

    def test_what_was_compiled_for_a_gpu_has_kernels(self):
        changes = {"target": "h100", "machine": "h100, not run", "seconds": None}
        lines = [
            line("linear", 512, kernels=1_234, compile_seconds=5.0, **changes),
            line("softmax", 512, compile_seconds=12.5, **changes),
            line("softmax", 1_024, status="out_of_memory", memory=None, **changes),
        ]
        found = {
            it.title: it.frame.set_index("attention") for it in tables.tables(the_group(lines))
        }
        kernels, seconds = found["kernels launched by a call"], found["seconds to compile"]
        assert kernels["512"].to_dict() == {"softmax": "", "linear": "1,234"}
        assert seconds["512"].to_dict() == {"softmax": "12.5", "linear": "5.00"}
        assert kernels["1,024"].to_dict() == {"softmax": "OOM", "linear": ""}


ESTIMATED = {
    "target": "tpu-v5e", "machine": "tpu-v5e, not run", "seconds": None, "scope": "train",
    "direction": "step", "size": "text", "preset": "paper", "layers": 4,
}  # fmt: skip


def estimated(attention, seconds, length=1_024):
    """Return a line of a step that was compiled for a TPU; `seconds` None: no estimate."""
    given = {"seconds": seconds, "cycles": None, "without": 3, "hertz": 1e9}
    return line(attention, length, estimate=given, **ESTIMATED)


class TestEstimates:
    """The compiler's estimates of time stand in tables of their own, each figure marked."""

    def test_times_are_marked_and_never_measured_ones(self):
        lines = [estimated("softmax", 0.2), estimated("linear", 0.05), estimated("reformer", None)]
        rows, it = table(lines, "time of a call, by the compiler's estimate")
        assert [row["1,024 (ms)"] for row in rows.values()] == ["~200", "~50.0", "left out"]
        assert "~: predicted by the compiler, not measured." in it.notes
        assert "left out: the compiler gives no time" in it.notes
        assert "doesn't fit" not in it.notes
        titles = [it.title for it in tables.tables(the_group(lines))]
        assert not [title for title in titles if "median" in title or "speed-up" in title]
        assert "time exponent" not in tables.tables(the_group(lines))[-1].frame

    def test_out_of_memory_has_no_time(self):
        ended = line("softmax", 1_024, status="out_of_memory", memory=None, **ESTIMATED)
        rows, _ = table([ended, estimated("linear", 0.05)], "time of a call")
        assert rows["softmax"]["1,024 (ms)"] == "OOM"

    def test_steps_in_the_form_of_the_paper(self):
        lines = [estimated("softmax", 0.2), estimated("linear", 0.05), estimated("reformer", None)]
        rows, it = table(lines, "steps a second", with_published=True)
        assert rows["linear"]["1,024"] == "~20.0 (4.00)"
        assert rows["reformer"]["1,024"] == "left out"
        assert rows["Performer [LRA paper]"]["1,024"] == "9.5 (1.2)"
        assert it.notes.startswith("By the compiler's estimate of the time.")

    def test_the_figures_are_in_the_csv(self):
        text = tables.render(parsed([estimated("linear", 0.05)]), "csv", with_published=False)
        (row,) = pd.read_csv(io.StringIO(text)).to_dict("records")
        assert (row["estimated_seconds"], row["without_estimate"]) == (0.05, 3)
        assert math.isnan(row["wall_seconds"])


class TestRankCorrelation:
    """Of our ratios to softmax with the paper's, at the lengths that both have."""

    def note(self, lines):
        _, it = table(lines, "steps a second", with_published=True)
        return re.findall(r"([-\d.]+) at ([\d,]+) tokens \(([^)]*)\)", it.notes)

    def test_the_paper_agrees_with_itself(self):
        names = "bigbird, linear, linformer, reformer, softmax, synthesizer"
        found = {length: (float(value), of) for value, length, of in self.note(paper_lines())}
        assert found == dict.fromkeys(("1,024", "2,048", "3,072", "4,096"), (1.0, names))

    def test_the_other_way_round(self):
        """The paper's order at 1K: reformer, softmax, linear, linformer."""
        seconds = {"reformer": 0.1, "softmax": 0.2, "linear": 0.3, "linformer": 0.4}
        lines = [estimated(name, each) for name, each in seconds.items()]
        assert self.note(lines) == [("-1.00", "1,024", "linear, linformer, reformer, softmax")]

    def test_others_and_what_has_no_estimate_do_not_count(self):
        some = {"softmax": 0.4, "linear": 0.3, "linformer": 0.2, "identity": 9.0, "reformer": None}
        lines = [estimated(name, each) for name, each in some.items()]
        assert self.note(lines) == [("1.00", "1,024", "linear, linformer, softmax")]

    def test_two_say_nothing(self):
        assert self.note([estimated("softmax", 0.4), estimated("linear", 0.3)]) == []


def paper_lines():
    """Return the LRA paper's Table 2 as lines, with our names of its models where we have them."""
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
        """Printed speeds are rounded, so ratios may differ by as much as rounding allows."""
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
        text = tables.render(parsed(lines), "csv", with_published=True)
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
        text = tables.render(parsed(sweep()), "html", with_published=False)
        root = ElementTree.fromstring(f"<body>{text}</body>")
        assert len(root.findall(".//table")) == 5
        assert "attention alone, forward and backward, regular" in root.find("h3").text

    def test_latex_is_escaped(self):
        lines = [*sweep(), line("linformer", 16_384, status="timed_out")]
        text = tables.render(parsed(lines), "latex", with_published=False)
        assert "$>$ time limit" in text
        assert r"95 \% confidence" in text
        assert text.count(r"\begin{") == text.count(r"\end{") == 20

    def test_markdown_has_as_many_cells_in_each_row(self):
        text = tables.render(parsed(sweep()), "markdown", with_published=False)
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
        assert "left out: 4 lines of" in capsys.readouterr().err
        assert "linear" in tables.render(found, "markdown", with_published=False)

    @pytest.mark.ci
    @settings(deadline=None, max_examples=60)
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
        provenance.section(Inputs([], found, [], {}))


def test_a_task_that_few_were_compiled_for_is_shown():
    """A length that few attentions were tried at is a probe; a task is not."""
    place = {"scope": "train", "direction": "step", "preset": "paper", "target": "tpu-v5e"}
    lines = [line(x, 1_024, None, size="image", **place) for x in ("softmax", "linear", "reformer")]
    lines.append(line("softmax", 2_000, None, size="listops", **place))
    text = tables.render(parsed(lines), "markdown", with_published=False)
    assert "image 1,024" in text
    assert "listops 2,000" in text
