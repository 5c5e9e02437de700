"""Tables laid out as a user asks for: columns, order, caption, label; and LaTeX that compiles."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from efficiency_cases import sweep
from leaderboard_cases import make, parsed

from lra_bench.cli.common import headings
from lra_bench.display.layout import PLAIN, TableLayout, check
from lra_bench.display.tables import Sheet, render_all
from lra_bench.efficiency import records as efficiency_records
from lra_bench.errors import UsageError
from lra_bench.leaderboard import tables
from lra_bench.records import record

TABLE = pd.DataFrame({
    "attention": ["softmax", "linear", "reformer", "chance"],
    "image %": ["23.0 ± 1.4 (-)", "FAIL (at chance, 9.9%)", "30.1", "10.0"],
    "1,024 (ms)": ["~12.5", "1,024", "OOM", ""],
})  # fmt: skip


class TestLayout:
    def test_columns_by_their_names_without_units_and_commas(self):
        table = TableLayout(columns=("1024", "IMAGE"))(TABLE)
        assert list(table.columns) == ["attention", "1,024 (ms)", "image %"]
        assert list(PLAIN(TABLE).columns) == list(TABLE.columns)

    @pytest.mark.parametrize(
        "columns", ["image,1,024", "image %,1,024 (ms)", "1,024,image", "1,024,image,1,024"]
    )
    def test_a_comma_in_a_heading_does_not_end_its_name(self, columns):
        layout = TableLayout(columns=headings(columns))
        check(layout, [TABLE])
        found = list(layout(TABLE).columns)[1:]
        assert sorted(found) == ["1,024 (ms)", "image %"]
        assert (found[0] == "image %") == columns.startswith("image")
        one = TableLayout(columns=("1,024",), sort="1,024:asc")
        check(one, [TABLE])
        assert list(one(TABLE).columns) == ["attention", "1,024 (ms)"]

    @pytest.mark.parametrize("columns", ["1,025", "image,1,025", "1,024,1"])
    def test_a_name_with_a_comma_may_be_unknown(self, columns):
        with pytest.raises(UsageError, match="unknown column '1'"):
            check(TableLayout(columns=headings(columns)), [TABLE])

    @pytest.mark.parametrize(
        ("sort", "order"),
        [
            ("image", ["reformer", "softmax", "linear", "chance"]),
            ("image %:asc", ["softmax", "reformer", "linear", "chance"]),
            ("1024", ["linear", "softmax", "reformer", "chance"]),
            ("attention", ["linear", "reformer", "softmax", "chance"]),
            ("attention:desc", ["softmax", "reformer", "linear", "chance"]),
        ],
    )
    def test_numbers_from_the_largest_on_and_chance_last(self, sort, order):
        assert list(TableLayout(sort=sort)(TABLE)["attention"]) == order

    def test_units_and_bounds_count(self):
        cells = ["512 B", "below 512", "74 KiB", "", "512", "1.5 MiB", "above 512", "2 KiB"]
        table = pd.DataFrame({"attention": list("abcdefgh"), "x": cells})
        ascending = TableLayout(sort="x:ASC")(table)["x"].tolist()
        assert ascending == [
            "below 512", "512 B", "512", "above 512", "2 KiB", "74 KiB", "1.5 MiB", ""
        ]  # fmt: skip
        descending = TableLayout(sort="x")(table)["x"].tolist()
        assert descending[:3] == ["1.5 MiB", "74 KiB", "2 KiB"]
        assert descending[-2:] == ["below 512", ""]

    def test_a_column_that_no_table_has(self):
        sheets = [
            Sheet("a", TABLE, ""),
            Sheet("b", TABLE.rename(columns={"image %": "text %"}), ""),
        ]
        shown = render_all("markdown", sheets, TableLayout(columns=("text",)))
        assert shown.count("###") == 1
        for layout in (TableLayout(columns=("imag",)), TableLayout(sort="imag")):
            with pytest.raises(UsageError, match="did you mean 'image %'"):
                render_all("markdown", sheets, layout)

    def test_captions_and_labels_of_one_and_of_several_tables(self):
        sheet, layout = (
            Sheet("preset mini", TABLE, "notes."),
            TableLayout(caption="Ours", label="tab:a"),
        )
        one, two = (render_all("latex", [sheet] * count, layout) for count in (1, 2))
        assert r"\caption{Ours.}" in one
        assert r"\label{tab:a}" in one
        assert two.count(r"\caption{Ours: preset mini.}") == 2
        assert two.index(r"\label{tab:a-1}") < two.index(r"\label{tab:a-2}")


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path):
        runs = [make(name, task=task, accuracy=accuracy)
                for name, accuracy in (("softmax", 0.4), ("linear", 0.5))
                for task in ("listops", "image")]  # fmt: skip
        runs.append(make("linear", 1, 0.3, overrides=("attention.causal=true",)))
        for number, run in enumerate(runs):
            (tmp_path / f"in/{number}").mkdir(parents=True)
            (tmp_path / f"in/{number}" / record.FILE).write_text(json.dumps(run))
        return tmp_path / "in"

    def test_rows_and_columns_are_chosen(self, folder, cli):
        status, out, _ = cli("table", folder, "--attentions", "linear", "--tasks", "listops")
        assert status == 0
        assert "| softmax " not in out
        assert "| linear (causal=True) |" in out  # all variants of a name
        assert "image" not in out
        status, out, _ = cli("table", folder, "--attentions", "linear (causal=True)")
        assert out.count("| linear") == 1

    def test_written_to_a_file_in_the_format_of_its_name(self, folder, cli, tmp_path):
        for end, start in (("tex", "% "), ("csv", "setting,"), ("md", "### "), ("html", "<h3>")):
            file = tmp_path / f"table.{end}"
            assert cli("table", folder, "--out", file) == (0, f"{file}\n", "")
            assert file.read_text().startswith(start)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--columns", "imag"), "unknown column 'imag'; did you mean 'image %'"),
            (("--attentions", "linar"), "did you mean 'linear'"),
            (("--tasks", "imag"), "unknown task among the records 'imag'"),
            (("--out", "table.doc"), "must end in one of .md, .csv, .json, .tex, .html"),
            (("--label", "a"), "--label is for LaTeX"),
            (("--compare", "softmax", "linear", "--published"), "has no published figures"),
            (("--compare", "-x", "linear"), "unknown option '-x'"),
            (("--label", "a}b"), "--label a}b: letters, digits"),
            (("--compare", "softmax", "linear", "--tasks", "image"), "choose among the records"),
        ],
    )
    def test_mistakes_are_one_line(self, folder, cli, words, message):
        status, out, err = cli("table", folder, *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err

    def test_of_efficiency(self, tmp_path, cli):
        (tmp_path / efficiency_records.FILE).write_text("\n".join(map(json.dumps, sweep())))
        words = ("--attentions", "linear", "--columns", "512,time exponent")
        status, out, _ = cli("table", tmp_path, *words)
        assert status == 0
        assert "| softmax " not in out
        assert "| attention   |   512 (ms) |" in out
        assert "1,024" not in "".join(line for line in out.splitlines() if line.startswith("|"))


def test_compare_names_its_columns(cli, tmp_path):
    for name, accuracy in (("one", 0.4), ("two", 0.5)):
        (tmp_path / name).mkdir()
        run = make("softmax", accuracy=accuracy)
        (tmp_path / name / record.FILE).write_text(json.dumps(run))
    _, out, _ = cli("table", "--compare", tmp_path / "one", tmp_path / "two")
    assert "|   one % |   two % |" in out
    (tmp_path / "two" / record.FILE).write_text(json.dumps(make("linear", accuracy=0.5)))
    _, out, _ = cli("table", tmp_path, "--compare", "softmax", "linear")
    assert "|   softmax % |   linear % |" in out
    _, out, _ = cli("table", tmp_path, "--compare", "softmax", "linear", "--format", "csv")
    assert out.startswith("first_name,second_name,")


@pytest.mark.skipif(
    not (shutil.which("pdflatex") or shutil.which("tectonic")), reason="needs pdflatex or tectonic"
)
def test_latex_compiles(tmp_path):
    runs = [
        make(name, seed, accuracy, task=task)
        for name, accuracy in (("linear", 0.4), ("softmax", 0.5))
        for seed in range(3)
        for task in ("listops", "image")
    ]
    layout = TableLayout(label="tab:a", caption="Test accuracy, 100 % ± 0_0")
    text = tables.render(parsed(runs), "latex", with_published=True, layout=layout)
    document = "\n".join([
        r"\documentclass{article}", r"\usepackage[utf8]{inputenc}",
        r"\usepackage{array,booktabs,threeparttable}", r"\begin{document}", text, r"\end{document}",
    ])  # fmt: skip
    (tmp_path / "a.tex").write_text(document)
    tex = shutil.which("tectonic")
    command = [tex, "a.tex"] if tex else ["pdflatex", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2_000:]
    assert (tmp_path / "a.pdf").stat().st_size > 10_000
    excess = [float(points) for points in re.findall(r"\(([\d.]+)pt too wide", done.stdout)]
    assert max(excess, default=0) < 100, "long sources are broken into lines"
