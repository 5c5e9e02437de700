"""The report page, and the table command, from records of both kinds."""

import html
import json
import re
import webbrowser
from html.parser import HTMLParser

import pytest
import report_cases as cases
from common import refused
from efficiency_cases import law, line, sweep
from leaderboard_cases import make

from lra_bench import __version__
from lra_bench.display import figures
from lra_bench.efficiency import records
from lra_bench.errors import UsageError
from lra_bench.report.inputs import gather


class Page(HTMLParser):
    """The links, ids, headings and text of a page, and whether its elements nest."""

    VOID = frozenset({"meta", "br", "link", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.ids, self.headings = [], [], [], []
        self.names, self.text = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "xlink:href")]
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        self.text.append(data)


def check(text):
    """Check that elements nest, ids are unique, links work and nothing else is loaded."""
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    outside = {link for link in page.links if not link.startswith("#")}
    assert all(re.fullmatch(r"https://arxiv\.org/abs/[\d.]+", link) for link in outside)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not page.names & {"img", "link", "iframe", "object", "embed", "base"}
    assert not re.search(r"@import|url\((?!#)", text)
    assert text.count("<script") == 1
    return page


@pytest.fixture
def both(tmp_path):
    """Return a folder with run records and efficiency records."""
    (tmp_path / "in/run").mkdir(parents=True)
    (tmp_path / "in/run/record.json").write_text(json.dumps(make()))
    lines = [*sweep(), *sweep(direction="forward")]
    (tmp_path / "in" / records.FILE).write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path / "in"


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave the PNG files empty: they take half the time, and show the figures of the page."""
    monkeypatch.setattr(figures, "save", lambda figure, path, *_: path.write_bytes(b""))


class TestReport:
    @pytest.mark.ci
    def test_one_page_shows_all_loads_nothing_and_comes_again(self, both, cli, tmp_path, request):
        status, out, err = cli("report", both, "--out", tmp_path / "out")
        assert (status, err) == (0, "")
        *files, last = out.splitlines()
        page = tmp_path / "out/index.html"
        assert last == f"{page}: open it with --open, or in a browser: {page.as_uri()}"
        assert files == [
            str(tmp_path / "out" / name)
            for name in (
                f"{figure}.{end}" for figure in ("time", "memory") for end in ("png", "svg", "pdf")
            )
        ]
        text = (tmp_path / "out/index.html").read_text()
        assert check(text).headings == [
            "Accuracy", "Speed and memory: attention alone, regular, 2 x EPYC", "Mechanisms",
            "Settings", "Data and citation", "Where this comes from",
        ]  # fmt: skip
        for shown in ("prefers-color-scheme: dark", "jax 0.10.2", "4 x TPU v5", "<svg", "OOM*",
                      f"{both / records.FILE}", "preset mini"):  # fmt: skip
            assert shown in text
        for name in ("time.png", "memory.png"):
            assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
        request.getfixturevalue("no_pictures")  # which were drawn once
        assert cli("report", both, "--out", tmp_path / "again")[0] == 0
        assert (tmp_path / "again/index.html").read_text() == text

    @pytest.mark.usefixtures("no_pictures")
    def test_the_top_says_what_was_found(self, both, cli, tmp_path, monkeypatch):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        cases.write(both / "other", cases.run("listops", "linear", accuracy=0.5))
        cases.write(both / "first", cases.run("listops", "softmax", 1, accuracy=0.3))
        words = ("--out", tmp_path / "out", "--title", "Ours & yours")
        assert cli("report", both, *words)[0] == 0
        text = (tmp_path / "out/index.html").read_text()
        top = text[text.index("<header") : text.index("</header>")]
        assert "<h1>Ours &amp; yours</h1>" in top
        assert '<time datetime="2023-11-14">14 November 2023</time>' in top
        assert f"lra-bench {__version__} · 3 runs of 2 attentions on 1 task" in top
        assert "none of 2 rows is significantly the best; linear leads with 50.0 %" in top
        assert "linear is the fastest at 4,096 tokens" in top
        assert text.index('id="first"') < text.index('id="accuracy"')
        assert "host" not in top

    @pytest.mark.usefixtures("no_pictures")
    def test_rows_can_be_chosen(self, both, cli, tmp_path):
        for name in ("linear", "softmax"):
            cases.write(both / name, cases.run("listops", name, 1, accuracy=0.5))
        chosen = ("report", both, "--out", tmp_path / "out", "--attentions", "linear")
        assert cli(*chosen)[0] == 0
        text = (tmp_path / "out/index.html").read_text()
        assert "1 run of 1 attention on 1 task; 12 records of efficiency" in text
        assert 'data-series="softmax"' not in text
        assert cli(*chosen[:-1], "linear,softmax", "--tasks", "listops")[0] == 0
        text = (tmp_path / "out/index.html").read_text()
        assert "of 2 attentions on 1 task" in text
        assert records.FILE not in text[text.index("Where this comes from") :]
        assert "Speed and memory" not in text
        refused(cli(*chosen[:-1], "linaer"), 2, "'linaer'", "linear")

    @pytest.mark.usefixtures("no_pictures")
    def test_a_page_of_something_else_stays(self, both, cli, tmp_path):
        (tmp_path / "out").mkdir()
        page = tmp_path / "out/index.html"
        page.write_text("<h1>mine</h1>")
        refused(cli("report", both, "--out", tmp_path / "out"), 2, f"{page} is there already")
        assert page.read_text() == "<h1>mine</h1>"
        page.unlink()
        for _ in range(2):
            assert cli("report", both, "--out", tmp_path / "out")[0] == 0

    @pytest.mark.usefixtures("no_pictures")
    def test_data_and_citations_to_take_along(self, both, cli, tmp_path):
        assert cli("report", both, "--out", tmp_path / "out")[0] == 0
        text = html.unescape((tmp_path / "out/index.html").read_text())
        assert 'data-file="accuracy.csv"' in text
        assert "setting,task,attention,accuracy_mean" in text
        assert "machine,target,scope" in text
        assert "@inproceedings{choromanski2021rethinking," in text
        assert "eprint = {2006.16236}" in text  # that of linear

    @pytest.mark.ci
    @pytest.mark.usefixtures("no_pictures")
    def test_open(self, both, cli, tmp_path, monkeypatch):
        opened = []
        for found in (True, False):
            monkeypatch.setattr(
                webbrowser, "open", lambda x, found=found: opened.append(x) or found
            )
            status, _, err = cli("report", both, "--out", tmp_path / "out", "--open")
            assert status == (0 if found else 1)
            assert ("no browser was found" in err) != found
        assert opened == [(tmp_path / "out/index.html").as_uri()] * 2

    @pytest.mark.usefixtures("no_pictures")
    @pytest.mark.parametrize("kind", ["run/record.json", "efficiency.jsonl"])
    def test_one_kind_of_records_is_enough(self, both, cli, tmp_path, kind):
        status, _, err = cli("report", both / kind, "--out", tmp_path / "out")
        assert (status, err) == (0, "")
        text = (tmp_path / "out/index.html").read_text()
        check(text)
        assert ("preset mini" in text) == (kind == "run/record.json")
        assert ('role="img"' in text) == (kind == "efficiency.jsonl")

    @pytest.mark.usefixtures("no_pictures")
    def test_markup_in_a_record_stays_text(self, tmp_path, cli):
        lines = law(cases.EVIL, 0.01, 1.0, machine="<b>&")
        (tmp_path / records.FILE).write_text("\n".join(map(json.dumps, lines)))
        cases.write(tmp_path / "odd", cases.odd())
        cases.write(tmp_path / 'na"me<b>', cases.run())
        assert cli("report", tmp_path, "--out", tmp_path / "out", "--published")[0] == 0
        text = (tmp_path / "out/index.html").read_text()
        check(text)
        assert cases.EVIL not in text
        assert "<b>&" not in text
        assert 'me"<b>' not in text
        assert "&lt;script&gt;" in text

    def test_out_that_is_a_file_is_refused(self, both, cli, tmp_path):
        (tmp_path / "out").write_text("mine")
        status, _, err = cli("report", both, "--out", tmp_path / "out")
        assert (status, err) == (
            2,
            f"lra-bench: --out {tmp_path / 'out'}: is a file, not a folder\n",
        )
        assert (tmp_path / "out").read_text() == "mine"

    def test_without_records_an_error_and_no_page(self, cli, tmp_path):
        (tmp_path / "in").mkdir()
        for folder, message in (("in", "no records in"), ("away", "no such file or folder")):
            status, _, err = cli("report", tmp_path / folder, "--out", tmp_path / "out")
            assert status == 2
            assert message in err
        assert not (tmp_path / "out").exists()

    @pytest.mark.usefixtures("no_pictures")
    def test_a_broken_record_is_named_and_left_out(self, both, cli, tmp_path):
        (both / "run/record.json").write_text("{")
        (both / records.FILE).write_text(json.dumps(line()))
        status, _, err = cli("report", both, "--out", tmp_path / "out")
        assert status == 0
        assert "left out" in err
        assert "preset mini" not in (tmp_path / "out/index.html").read_text()

    def test_inputs_are_counted(self, both):
        inputs = gather([both])
        assert list(inputs.files.values()) == [1, len(inputs.lines)]
        with pytest.raises(UsageError):
            gather([both / "away"])


@pytest.mark.ci
@pytest.mark.usefixtures("no_pictures")
class TestWhole:
    """Pages of a sweep, and of the records that this repository keeps."""

    @pytest.mark.slow
    def test_two_hundred_records(self, tmp_path, cli):
        assert cases.sweep(tmp_path / "in") == 200
        status, _, err = cli("report", tmp_path / "in", "--out", tmp_path / "out", "--published")
        assert (status, err) == (0, "")
        file = tmp_path / "out/index.html"
        assert file.stat().st_size < 3e6
        page = check(file.read_text())
        lead = "200 runs of 8 attentions on 6 tasks."
        for shown in (lead, "diverged", "out of memory", "Published figures", "preset small"):
            assert any(shown in text for text in page.text), shown

    def test_our_own_results(self, repository, tmp_path, cli):
        status, _, err = cli("report", repository / "results", "--out", tmp_path)
        assert (status, err) == (0, "")
        assert (tmp_path / "index.html").stat().st_size < 3e6
        check((tmp_path / "index.html").read_text())


class TestCommand:
    def test_accuracy_is_the_default(self, both, cli):
        status, out, _ = cli("table", both)
        assert (status, out[:15]) == (0, "### preset mini")

    def test_efficiency_by_name_or_without_other_records(self, both, cli):
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

    def test_without_records_an_error(self, cli, tmp_path):
        assert cli("table", tmp_path)[0] == 2
        status, _, err = cli("table", tmp_path, "--kind", "efficiency")
        assert status == 2
        assert "no efficiency records in" in err
