"""The figures of the report page: learning curves, bubbles, and studies of approximation."""

import itertools
import shutil

import pandas as pd
import pytest
import report_cases as cases

from lra_bench.analysis import approximation as variants
from lra_bench.cli import main
from lra_bench.display import figures
from lra_bench.records.find import collect
from lra_bench.registry import ATTENTIONS
from lra_bench.report import ablations, approximation, bubbles, curves
from lra_bench.report.figure import numbered
from lra_bench.report.inputs import gather, run_tables
from lra_bench.report.styles import styles


def run_table(runs):
    (table,) = run_tables(cases.parsed(runs))
    return table


class TestCurves:
    def result(self, folder, *rises, **changes):
        for seed, lines in enumerate(rises):
            cases.write(folder / str(seed), cases.run(seed=seed, **changes), lines)
        (table,) = run_tables(collect([folder]))
        (result,) = table.results
        return result

    def test_mean_and_band(self, tmp_path):
        long = cases.lines(0.4, range(100, 800, 100))
        result = self.result(tmp_path, cases.lines(0.3), cases.lines(0.6), long)
        curve = curves.curve(result)
        assert curve.seeds == 3
        assert curve.steps == (100, 200, 300, 400, 500, 600)
        assert curve.low[-1] == 0.3
        assert curve.high[-1] == 0.6
        assert curve.mean[-1] == pytest.approx((0.3 + 0.6 + long[-2]["accuracy"]) / 3)

    def test_no_curve_without_metrics_or_of_a_failed_run(self, tmp_path):
        assert curves.curve(self.result(tmp_path / "a", ())) is None
        failed = self.result(tmp_path / "b", cases.lines(0.3), status="diverged")
        assert curves.curve(failed) is None

    def test_junk_in_metrics(self, tmp_path):
        good = cases.lines(0.3)
        junk = [{**good[0], "accuracy": x} for x in (None, "high", 7, True)]
        junk += [{**good[0], "step": x} for x in (None, "one", [], -1, 1e400)]
        curve = curves.curve(self.result(tmp_path, [*good[1:], *junk]))
        assert curve.steps == tuple(line["step"] for line in good[1:])
        assert curves.curve(self.result(tmp_path, [*junk])) is None

    def test_panels_in_a_figure(self, tmp_path):
        cases.write(tmp_path / "a", cases.run(), cases.lines(0.3))
        cases.write(tmp_path / "b", cases.run(seed=1), cases.lines(0.5))
        cases.write(tmp_path / "c", cases.run("image", "linear"), cases.lines(0.2))
        tables = gather([tmp_path]).tables
        text, (image,) = curves.section(tables, styles(tables, []))
        assert text.count("<figure") == 2
        assert "the band from the least to the greatest" in text
        listops, other = (axes for axes in image.figure.axes if axes.axison)
        assert (listops.get_title(), other.get_title()) == ("listops", "image")
        assert list(listops.lines[0].get_ydata())[-1] == pytest.approx(40)
        assert len(listops.collections) == 1
        assert len(listops.lines) == 4  # the mean, two edges of the band, and chance
        assert len(other.collections) == 0

    def test_many_curves_have_a_panel_for_each_family(self, tmp_path):
        names = ("softmax", "linear", "performer-relu", "linformer", "reformer", "identity")
        for number, name in enumerate(names):
            lines = cases.lines(0.2 + 0.05 * number)
            cases.write(tmp_path / name, cases.run("listops", name), lines)
        (table,) = run_tables(collect([tmp_path]))
        _, (image,) = curves.section([table], styles([table], []))
        panels = {axes.get_title(): axes for axes in image.figure.axes if axes.axison}
        assert panels.keys() == {"listops: exact and identity", "listops: kernel",
                                 "listops: low-rank", "listops: learned-pattern"}  # fmt: skip
        kernel = panels["listops: kernel"]
        greys = [line for line in kernel.lines if line.get_color() == "0.6"]
        assert len(greys) == 4
        assert len({axes.get_ylim() for axes in panels.values()}) == 1


class TestBubbles:
    def runs(self, *attentions, tasks=("listops", "image"), **changes):
        return [
            cases.run(task, name, accuracy=0.3 + 0.01 * n, steps_per_second=2.0 ** (n + 1),
                      peak_memory_bytes=(n + 1) * 2**20, **changes)
            for task in tasks
            for n, name in enumerate(attentions)
        ]  # fmt: skip

    def test_points(self):
        runs = self.runs("softmax", "linear", "reformer")
        runs += self.runs("softmax", "linear", tasks=("text",))
        (chart,) = bubbles.charts([run_table(runs)])
        assert chart.tasks == ("listops", "image")
        by_label = {point.label: point for point in chart.points}
        assert by_label.keys() == {"softmax", "linear", "reformer"}
        reformer = by_label["reformer"]
        assert reformer.speed == pytest.approx(4)
        assert reformer.accuracy == pytest.approx(0.32)
        assert reformer.memory == pytest.approx(3 * 2**20)
        assert "the mean over listops, image" in bubbles.caption(chart)

    def test_attentions_that_lack_a_task_are_named(self):
        runs = self.runs("softmax", "linear", "reformer", "performer-relu")
        runs += self.runs("softmax", "linformer", tasks=("listops",))[1:]
        (chart,) = bubbles.charts([run_table(runs)])
        assert chart.left_out == ("linformer",)
        assert "Left out, as some of these are missing: linformer." in bubbles.caption(chart)

    def test_a_task_that_nobody_learns_is_no_comparison(self):
        runs = self.runs("softmax", "linear", "reformer")
        runs += [
            cases.run("pathfinder", name, accuracy=0.5)
            for name in ("softmax", "linear", "reformer")
        ]
        (chart,) = bubbles.charts([run_table(runs)])
        assert "pathfinder" not in chart.tasks

    def test_devices_and_presets_have_charts_of_their_own(self):
        runs = self.runs("softmax", "linear", "reformer")
        other = {"device_kind": "H100", "device_count": 1}
        runs += self.runs("softmax", "linear", "linformer", environment=other, seed=1)
        charts = bubbles.charts(run_tables(cases.parsed(runs)))
        assert [(chart.device, len(chart.points)) for chart in charts] == [
            ("1 x H100", 3), ("4 x TPU v5", 3)
        ]  # fmt: skip
        runs = [*self.runs("softmax", "linear"), *self.runs("softmax", "reformer", preset="small")]
        assert bubbles.charts(run_tables(cases.parsed(runs))) == []

    def test_too_few_runs_are_reported(self):
        text, images = bubbles.section(run_tables(cases.parsed(self.runs("softmax", "linear"))), {})
        assert (text, images) == (None, [])

    @pytest.mark.ci
    def test_labels_do_not_overlap(self):
        names = [name for name in ATTENTIONS.names() if name != "softmax"]
        runs = [cases.run("listops", name, accuracy=0.4 + 0.002 * n, steps_per_second=5 + 0.05 * n)
                for n, name in enumerate(["softmax", *names])]  # fmt: skip
        table = run_table(runs)
        (chart,) = bubbles.charts([table])
        assert len(chart.points) > 8
        axes = bubbles.draw(chart, styles([table], [])).axes[0]
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == len(chart.points)
        assert not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    papers = dict(list(variants.VARIANTS.items())[:4])
    options = ["--length=32", "--draws=2", "--features=8,16", "--scales=0.5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "VARIANTS", papers)
        assert main(["analyze", "approximation", "--out", str(out), *options]) == 0
    return out


@pytest.mark.ci
class TestApproximation:
    @pytest.fixture
    def folder(self, study, tmp_path):
        return shutil.copytree(study, tmp_path / "in")

    def test_in_the_page(self, folder, cli, tmp_path):
        status, _, err = cli("report", folder, "--out", tmp_path / "out")
        assert (status, err) == (0, "")
        assert (tmp_path / "out/approximation.png").exists()
        text = (tmp_path / "out/index.html").read_text()
        for shown in ("L = 32, d = 16, 2 draws", "positive, orthogonal", "Which errs less"):
            assert shown in text
        assert "--length 32 --dim 16 --draws 2 --features 8,16 --scales 0.5 --seed 0" in text

    def test_without_setup_and_claims(self, folder):
        (folder / approximation.SETUP).write_text("[")
        (folder / approximation.CLAIMS).unlink()
        study = approximation.read(folder / approximation.FILE)
        assert (study.facts, study.claims) == ("2 draws", None)
        assert len(approximation.section([study])[1]) == 1

    def test_files_of_older_versions_have_no_geometric_means(self, folder):
        (folder / approximation.SETUP).unlink()
        file = folder / approximation.FILE
        table = pd.read_csv(file)
        assert set(approximation.read(file).summary["geometric_mean"]) == set(
            table["geometric_mean"]
        )
        table.drop(columns=["geometric_mean", "geometric_sd"]).to_csv(file, index=False)
        study = approximation.read(file)
        assert set(study.summary["geometric_mean"]) == set(table["mse"])
        assert len(approximation.section([study])[1]) == 1

    def test_other_files_are_named_and_left_out(self, folder, capsys):
        for text in ("", "a,b\n1,2\n", (folder / approximation.FILE).read_text() + "x,y,z,,,,,,\n"):
            (folder / approximation.FILE).write_text(text)
            assert approximation.read(folder / approximation.FILE) is None
            assert "left out" in capsys.readouterr().err


class TestAblations:
    def write(self, folder):
        for number, name in enumerate(("performer-softmax", "linear")):
            cases.write(folder / f"stability/run{number}", cases.run("listops", name),
                        [{**line, "split": "train"} for line in cases.lines(0.3)])  # fmt: skip
        (folder / "stability.md").write_text("the table")

    def test_a_study_has_a_table_and_a_figure(self, tmp_path):
        self.write(tmp_path)
        text, (image,) = ablations.section(collect([tmp_path]))
        assert "Stability of training: listops, preset mini" in text
        assert text.index("elu + 1") < text.index("positive") < text.index("<figure")
        legend = image.figure.legends[0]
        colours = [line.get_color() for line in legend.get_lines()[:2]]
        assert colours == [figures.series_style(number)["color"] for number in (0, 1)]

    def test_runs_of_a_sweep_are_no_study(self, tmp_path):
        self.write(tmp_path)
        (tmp_path / "stability.md").unlink()
        assert ablations.section(collect([tmp_path])) == (None, [])


def test_the_ids_of_each_figure_begin_with_its_number():
    one, two = "f0123abcd", "fdeadbeef"
    page = f'<path id="{one}-1"/><use href="#{one}-1"/><g clip-path="url(#{two}-1)"/><p>{one}-1</p>'
    expected = f'<path id="f0-1"/><use href="#f0-1"/><g clip-path="url(#f1-1)"/><p>{one}-1</p>'
    assert numbered(page) == expected
