"""Tables on a terminal: they fit, nothing is lost, and a file gets the same markdown as ever."""

import re

import pandas as pd
import pytest
from common import ROOT
from screens import screen

from lra_bench.cli import main
from lra_bench.display import tables
from lra_bench.display.tables import TERMINAL, Marked

CODES = re.compile(r"\x1b\[[0-9;]*m")
RECORDS = str(ROOT / "results/mini-cpu")
TABLE = pd.DataFrame(
    {
        "attention": ["softmax", "performer-softmax"],
        "listops %": [Marked("31.1 ± 0.5", bold=True), "9.0 ± 0.5"],
        "text %": ["55.0 ± 1.5 (1 of 3 at chance) (-)", Marked("54.5 ± 1.4", bold=False)],
        "source": ["a paper", "another paper"],
    }
)
NOTES = "mean ± sd over seeds, test accuracy at the best validation step; and more."


def rendered(monkeypatch, columns):
    screen(monkeypatch, columns)
    return tables.render(TERMINAL, "preset mini", TABLE, NOTES)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_table_fits_and_loses_nothing(monkeypatch, columns):
    text = CODES.sub("", rendered(monkeypatch, columns))
    assert max(len(line) for line in text.splitlines()) <= columns
    words = set(text.split())
    for cell in [*TABLE.columns, *(str(x) for x in TABLE.to_numpy().ravel()), NOTES]:
        assert set(cell.split()) <= words


def test_columns_that_do_not_fit_follow_with_the_first(monkeypatch):
    lines = CODES.sub("", rendered(monkeypatch, 40)).splitlines()
    assert lines[:12] == [
        "preset mini",
        "",
        "attention           listops %",
        "─────────────────────────────",
        "softmax            31.1 ± 0.5",
        "performer-softmax   9.0 ± 0.5",
        "",
        "attention                         text %",
        "────────────────────────────────────────",
        "softmax            55.0 ± 1.5 (1 of 3 at",
        "                             chance) (-)",
        "performer-softmax             54.5 ± 1.4",
    ]


def test_marks_are_styles(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    text = rendered(monkeypatch, 120)
    assert re.search(r"\x1b\[1m *31.1 ± 0.5\x1b\[0m", text)
    assert re.search(r"\x1b\[4m *54.5 ± 1.4\x1b\[0m", text)


def test_only_a_terminal_gets_them(cli, monkeypatch):
    _, markdown, _ = cli("table", RECORDS)
    assert markdown.startswith("### preset mini\n\n| attention")
    assert f"{markdown.rstrip()}\n" in (ROOT / "results/mini-cpu.md").read_text()
    shown = screen(monkeypatch, 80)
    assert main(["table", RECORDS]) == 0
    on_terminal = CODES.sub("", shown.getvalue())
    assert on_terminal.startswith("preset mini\n\nattention")
    assert "|" not in on_terminal
    asked = screen(monkeypatch, 80)
    assert main(["table", RECORDS, "--format", "markdown"]) == 0
    assert asked.getvalue().endswith(markdown)


def test_studies_print_tables_too(monkeypatch, capsys):
    from lra_bench.display.progress import Display

    text = "| variant   |   1 |\n|:----------|----:|\n| iid       | 0.3 |"
    Display().markdown(text)
    assert capsys.readouterr().out == f"{text}\n"
    shown = screen(monkeypatch, 60)
    Display().markdown(text)
    assert "|" not in shown.getvalue()
    assert {"variant", "iid", "0.3"} <= set(CODES.sub("", shown.getvalue()).split())
