"""Hostile text in every format: it is shown, and does nothing."""

import pytest
import report_cases
from efficiency_cases import line
from hostile import CHECKS, TEXTS, check_html, controls
from matplotlib.figure import Figure

from lra_bench.display import escape, figures, progress
from lra_bench.efficiency import records
from lra_bench.leaderboard import tables
from lra_bench.records import record
from lra_bench.report import inputs, leaderboard, mechanisms, provenance
from lra_bench.scaling import tables as efficiency_tables

STYLES = list(CHECKS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("num_features=64, OOM*, ~3.1", "num_features=64, OOM*, ~3.1"),
        ("< 512 or >= 65,536", "< 512 or >= 65,536"),
        ("a|b", r"a\|b"),
        ("<b>", "&lt;b>"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("[x](y)", r"[x]\](y)".replace(r"]\]", r"\]")),
        ("*x* ~~y~~ _z_ `c`", r"\*x\* \~\~y\~\~ \_z\_ \`c\`"),
        ("a\nb\x1b[1m\u202e", r"a\\nb\\x1b[1m\\u202e"),
    ],
)
def test_markdown(text, shown):
    assert escape.markdown(text) == shown


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "  =1"])
def test_no_formula_in_csv(text):
    assert escape.csv(text).startswith("'")
    assert escape.csv(-1.5) == -1.5


def test_latex_reads_no_argument():
    assert escape.latex("[2cm]") == "{[}2cm]"
    assert escape.latex(r"\input{x}") == r"\textbackslash{}input\{x\}"


def test_a_label_of_a_figure_is_no_formula():
    assert escape.figure("$x^{") == r"\$x^{"
    assert escape.figure("_hidden") == " _hidden"
    assert len(escape.figure("x" * 999)) == 120


def hostile_record(text, seed=0, status="ok"):
    """A record whose texts are all hostile, where it still is one."""
    values = report_cases.run(seed=seed, status=status)
    values |= {"task": text, "attention": text, "preset": text}
    if status != "ok":
        values["error"] = text
    values["config"]["attention_options"] = {text: text}
    values["config"]["model"][text] = text
    values["config"]["data_source"] = text
    values["data"] = {"source": text, "sha256": text, "sizes": {text: 3}, "official": False}
    values["environment"] = {
        "versions": {text: text, "jax": text}, "git_commit": text, "device_kind": text,
        "host": text, "host_cpu": text, "platform": text, "dtype": text, "device_count": 1,
    }  # fmt: skip
    origin = {"path": text, "sha256": text, "task": text, "attention": text, "step": 1,
              "test_accuracy": None}  # fmt: skip
    return record.parse({**values, "init_from": origin if seed else None})


# Half of a surrogate pair is refused by the reader.
SHOWN = [text for text in TEXTS if text != "\ud800"]
EACH = [
    "".join(SHOWN),
    *SHOWN[::5],
    *(pytest.param(text, marks=pytest.mark.slow) for n, text in enumerate(SHOWN) if n % 5),
]


@pytest.mark.parametrize("text", EACH, ids=lambda text: ascii(text[:20]))
def test_every_text_of_a_record_is_harmless_everywhere(text):
    runs = [hostile_record(text), hostile_record(text, 1), hostile_record(text, 2, "failed")]
    for style in STYLES:
        CHECKS[style](tables.render(runs, style, with_published=False))
    page = inputs.Inputs(runs, [], [], {escape.terminal(text): 3})
    check_html(leaderboard.section(page.tables, with_published=True))
    check_html(mechanisms.section([text], page.tables))
    check_html(provenance.section(page))


@pytest.mark.parametrize("text", EACH, ids=lambda text: ascii(text[:20]))
def test_every_text_of_efficiency_is_harmless_everywhere(text):
    texts = ("attention", "scope", "size", "direction", "dtype", "target", "preset", "machine")
    values = []
    for length in (512, 1_024):
        values.append(line(length=length))
        for key in texts:
            place = values[-1] if key == "machine" else values[-1]["cell"]
            place[key] = text
        values[-1]["cell"]["config"] = {"attention_options": {text: text}, "model": {text: text},
                                        "train": {text: text}}  # fmt: skip
        values[-1]["environment"] = {"versions": {"jax": text}, "platform": text}
        values[-1]["error"] = values[-1]["finished"] = text
    lines = [records.parse(value) for value in values]
    for style in STYLES:
        text = efficiency_tables.render(lines, style, with_published=False, mix_machines=False)
        CHECKS[style](text)


def test_lines_on_the_screen(capsys):
    display = progress.Display()
    display.line("a\x1b[31m\r\u202e\nb")
    display.verdict(False, "x\nlra-bench: forged")
    display.example("t\nu", "text\x1b[2J")
    out = capsys.readouterr().out
    assert not controls(out)
    assert out.startswith("a\\x1b[31m\\r\\u202e\nb\n")
    assert "\nlra-bench: forged" not in out


@pytest.mark.ci
def test_a_figure_draws_every_label():
    """Mathematics that does not parse would raise, and an underscore would lose the label."""
    from lra_bench.scaling import groups, plots, rows

    lines = []
    for text in [*SHOWN[::4], "$x^{", "_x"]:
        for length in (512, 1_024):
            values = line(length=length, machine=text)
            values["cell"]["attention"] = text
            lines.append(records.parse(values))
    drawn = plots.plots(groups.groups(rows.from_lines(lines), mix_machines=True))
    assert drawn
    for plot in drawn:
        assert "<script" not in figures.inline_svg(plot.figure, plot.name, plot.title)


def test_a_label_that_leaves_no_room_is_no_warning(tmp_path):
    """Tests take warnings as errors; a user would see two lines of Python."""
    figure = Figure(figsize=(2, 1), layout="constrained")
    figure.subplots().set_ylabel("x" * 200)
    figure.subplots().legend([], [], title="y" * 300)
    for name in ("a.png", "a.svg"):
        figures.save(figure, tmp_path / name)
        assert (tmp_path / name).stat().st_size
