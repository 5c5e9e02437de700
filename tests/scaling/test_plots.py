"""Figures from lines that follow known laws."""

import re
from xml.etree import ElementTree

import numpy as np
from efficiency_cases import law, line, measured, sweep, the_group
from matplotlib.figure import Figure

from lra_bench.display import figures, palette
from lra_bench.scaling import groups, plots


class TestFigures:
    def test_time_and_memory_of_both_passes(self):
        found = plots.plots(groups.groups(measured([*sweep(), *sweep(direction="forward")])))
        assert [plot.name for plot in found] == ["time", "memory"]
        titles = [axes.get_title() for axes in found[0].figure.axes]
        assert titles == ["forward", "forward and backward"]

    def test_what_is_drawn(self):
        """Medians at their lengths, a cross where softmax ends, identity dashed and grey."""
        time, memory = plots.plots([the_group(sweep())])
        drawn = {
            (it.get_color(), it.get_marker()): it.get_xydata() for it in time.figure.axes[0].lines
        }
        grey = palette.FAMILIES["bound"].light
        crosses = [xy for (_, marker), xy in drawn.items() if marker == "x"]
        assert np.concatenate(crosses).tolist() == [[4_096, 0.16]]
        identity = time.figure.axes[0].lines
        (line_,) = [it for it in identity if it.get_color() == grey and it.get_linestyle() == "--"]
        assert line_.get_xydata().tolist()[0] == [512, 0.0005]
        names = [text.get_text() for text in time.figure.legends[0].get_texts()]
        assert names == ["softmax", "linear", "X (OPT)", "out of memory beyond"]
        heights = {it.get_ydata()[0] for it in memory.figure.axes[0].lines
                   if len(set(it.get_ydata())) == 1}  # fmt: skip
        assert 16.0 in heights

    def test_what_was_only_compiled_has_lines_of_its_own(self):
        changes = {"target": "h100", "machine": "h100, not run"}
        lines = [line("linear", x, seconds=None, **changes) for x in (512, 1_024)]
        (memory,) = plots.plots([the_group(lines)])
        drawn = [it for it in memory.figure.axes[0].lines if len(it.get_xdata()) == 2]
        assert "P" in {it.get_marker() for it in drawn}  # the marker of linear
        names = [text.get_text() for text in memory.figure.legends[0].get_texts()]
        assert names == ["linear", "memory limit"]

    def test_no_cross_where_something_longer_ran(self):
        lines = [*law("linear", 0.02, 1.0), line("linear", 1_500, status="out_of_memory")]
        time, _ = plots.plots([the_group(lines)])
        assert not [it for it in time.figure.axes[0].lines if it.get_marker() == "x"]

    def test_time_by_layers(self):
        lines = [
            it for n in (2, 4, 6) for it in law("linear", n * 0.01, 1.0, scope="model", layers=n)
        ]
        found = plots.plots(groups.groups(measured(lines)))
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

    def test_a_long_legend_is_by_family(self, monkeypatch):
        families = {"bound": 1, "exact": 3, "kernel": 11, "low-rank": 4, "other": 3}
        of = {f"{family}-{n}": family for family, count in families.items() for n in range(count)}
        monkeypatch.setattr(plots, "family_of", of.get)
        lines = [it for name in of for it in law(name, 0.01, 1.0)]
        time, *_ = plots.plots([the_group(lines)])
        (legend,) = time.figure.legends
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts.index("kernel:") < texts.index("kernel-10") < texts.index("low-rank:")

    def test_svg_and_png(self, tmp_path):
        time, _ = plots.plots([the_group(sweep())])
        for name in ("a.svg", "b.svg", "a.png"):
            figures.save(time.figure, tmp_path / name)
        assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
        assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"

    def test_inline_svg_leaves_labels_as_they_are(self):
        drawn = Figure()
        words = 'rate=0.00025 x="1.2345" font-family: a; href="#q" url(#z) #000000'
        drawn.subplots().set_title(words)
        assert words in figures.inline_svg(drawn, "one", "what")

    def test_inline_svg_styles_marks_once_and_marks_of_several_styles_each(self):
        drawn = Figure()
        axes = drawn.subplots()
        axes.plot([0, 1, 2], [1, 0, 1], marker="s", color="#112233")
        axes.scatter([0, 1], [2, 3], c=["#445566", "#778899"])
        text = figures.inline_svg(drawn, "one", "what")
        (mark,) = re.findall(r'<path id="([^"]*)"[^>]*fill:#112233', text)
        assert re.findall(rf'<use href="#{mark}"[^>]*>', text) == re.findall(
            rf'<use href="#{mark}" x="[^"]*" y="[^"]*"/>', text
        )
        assert text.count(f'"#{mark}"') == 3
        for color in ("#445566", "#778899"):
            assert len(re.findall(rf'<use [^>]*style="fill:{color};stroke:{color}"', text)) == 1

    def test_inline_svg_has_ids_and_colours_of_the_page(self):
        time, _ = plots.plots([the_group(sweep())])
        text = figures.inline_svg(time.figure, "one", 'a "b" <c>')
        root = ElementTree.fromstring(text)
        assert root.attrib["aria-label"] == "a b c"
        ids = [it.attrib["id"] for it in root.iter() if "id" in it.attrib]
        assert all(name.startswith("one-") for name in ids)
        used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
        assert used <= set(ids)
        assert "var(--family-exact, #071737)" in text
        assert not re.search("(?<!, )#071737", text)
