"""What people see while a command runs: a spinner where nothing else is printed, bars that fit."""

import threading
import time

import pytest
from common import PATIENCE
from screens import screen

from lra_bench.display import busy, progress
from lra_bench.display.fit import fitted

REMARK = "train loss 2.281  accuracy 15.9%  27.1 steps/s"


def until(happened):
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(busy, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(busy, "_REFRESH_SECONDS", 0.01)


def test_a_terminal_sees_what_goes_on(monkeypatch, at_once):
    shown = screen(monkeypatch, 80)
    with busy.busy("reading records"):
        until(lambda: "reading records ... 0 s" in shown.getvalue())
        with busy.busy("compiling") as change:
            until(lambda: "compiling ... 0 s" in shown.getvalue())
            change("drawing figure 3 of 6")
            until(lambda: "drawing figure 3 of 6 ... " in shown.getvalue())
    assert shown.getvalue().endswith("\r\x1b[K"), "nothing is left of it"
    until(lambda: busy._spinner._thread is None)


def test_the_seconds_are_those_of_the_innermost_text(monkeypatch, at_once):
    shown, now = screen(monkeypatch, 80), [100.0]
    monkeypatch.setattr(busy.time, "monotonic", lambda: now[0])
    with busy.busy("outer"):
        now[0] = 107.0
        with busy.busy("inner"):
            now[0] = 110.0
            until_real(lambda: "inner ... 3 s" in shown.getvalue())
        until_real(lambda: "outer ... 10 s" in shown.getvalue())


def until_real(happened):
    waited = threading.Event()
    for _ in range(PATIENCE * 100):
        if happened():
            return
        waited.wait(0.01)
    raise AssertionError("never")


def test_it_makes_way_for_what_is_printed(monkeypatch, at_once):
    shown = screen(monkeypatch, 80)
    display = progress.Display()
    with busy.busy("working"):
        until(lambda: "working" in shown.getvalue())
        display.line("a line")
        busy.say("another line")
        before = shown.getvalue()
        with busy.aside():
            quiet = len(shown.getvalue())
            time.sleep(0.1)
            assert len(shown.getvalue()) == quiet
    for line in ("a line", "another line"):
        assert f"\n{line}\n" in "\n" + before.replace("\r\x1b[K", "\n").replace("\n\n", "\n")


def test_it_fits_the_width(monkeypatch, at_once):
    shown = screen(monkeypatch, 30)
    with busy.busy("a text that is far too long for so narrow a terminal"):
        until(lambda: " ... 0 s" in shown.getvalue())
    assert max(map(len, shown.texts())) < 30


def test_no_terminal_sees_none_of_it(capsys, at_once):
    with busy.busy("working"):
        time.sleep(0.1)
        print("a line")
    assert capsys.readouterr() == ("a line\n", "")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_bars_fit(monkeypatch, width):
    shown = screen(monkeypatch, width)
    display = progress.Display()
    with display.bar("training", 600) as bar:
        bar(120, REMARK)
    lines = [text for text in shown.texts() if "120/600" in text]
    assert lines
    for line in lines:
        assert len(line.rstrip()) <= width
        assert "training" in line
        assert line.count("━") + line.count("╸") + line.count("╺") >= 10
        assert ":" in line, "the time that is left"
    words = {40: [], 60: [], 80: ["train loss 2.281"], 120: REMARK.split("  ")}[width]
    assert [part for part in REMARK.split("  ") if part in lines[-1]] == words


def test_a_bar_of_a_long_label_fits(monkeypatch):
    shown = screen(monkeypatch, 60)
    with progress.Display().bar("preparing a task with a very long name " * 2, None) as bar:
        bar(3, "reading")
    assert max(len(text.rstrip()) for text in shown.texts()) <= 60


def test_lines_shed_parts_in_order(monkeypatch):
    parts = ["step 1", "train loss 2.0", "accuracy 1 %", "3 steps/s", "validation loss 2.0"]
    assert fitted(parts, (3, 2, 1), None) == parts
    assert fitted(parts, (3, 2, 1), 60) == [*parts[:3], parts[4]]
    assert fitted(parts, (3, 2, 1), 30) == [parts[0], parts[4]]
    assert fitted(["a", "", "b"], (), 1) == ["a", "b"]
    shown = screen(monkeypatch, 30)
    progress.Display().parts(parts, (3, 2, 1))
    assert shown.getvalue() == "step 1  validation loss 2.0\n"


def test_a_file_gets_whole_lines(capsys):
    progress.Display().parts(["step 1", "", "x" * 200], (2,))
    progress.Display().entry("published", "word " * 40, 15)
    out = capsys.readouterr().out.splitlines()
    assert out == [f"step 1  {'x' * 200}", f"published      {'word ' * 40}"]


def test_entries_break_between_words(monkeypatch):
    shown = screen(monkeypatch, 40)
    progress.Display().entry("published", "18.0 % LRA paper (preset lra, brackets dropped)", 15)
    assert shown.getvalue().splitlines() == [
        "published      18.0 % LRA paper (preset",
        "               lra, brackets dropped)",
    ]
