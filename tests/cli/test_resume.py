"""`--resume` where nothing is: each command says so in one line, and starts from the beginning."""

import pytest

from lra_bench.efficiency import measure, supervise
from lra_bench.errors import RunError
from lra_bench.runtime.environment import Environment
from lra_bench.sweep import sweep

HOST = supervise.Host(1, 2**33, Environment(platform="cpu"), "")
NOTE = "nothing to resume in typo: starting from the beginning\n"


@pytest.fixture(autouse=True)
def _no_work(monkeypatch, tmp_path):
    """The commands end where they would train or measure."""

    def run(*_, **__):
        raise RunError("now it works")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lra_bench.training.run.execute", run)
    monkeypatch.setattr(sweep._Sweep, "execute", run)
    monkeypatch.setattr(measure.Measuring, "run", run)
    monkeypatch.setattr(supervise, "describe", lambda *_: HOST)


RUN = ("run", "--preset", "smoke", "--attention", "linear")
SWEEP = ("sweep", "--preset", "smoke", "--tasks", "listops", "--attentions", "linear")
EFFICIENCY = ("efficiency", "--attentions", "linear", "--lengths", "64")


@pytest.mark.parametrize("words", [RUN, SWEEP, EFFICIENCY], ids=lambda words: words[0])
@pytest.mark.parametrize("made", [False, True], ids=["no folder", "empty folder"])
def test_resume_of_nothing_says_so(cli, tmp_path, words, made):
    if made:
        (tmp_path / "typo").mkdir()
    status, out, err = cli(*words, "--out", "typo", "--resume")
    assert (status, err) == (1, "lra-bench: now it works\n")
    assert out.startswith(NOTE)
    assert out.count("nothing to resume") == 1


@pytest.mark.parametrize("words", [RUN, SWEEP, EFFICIENCY], ids=lambda words: words[0])
def test_without_resume_nothing_is_said(cli, words):
    assert "nothing to resume" not in cli(*words, "--out", "typo")[1]


def test_a_sweep_that_is_there_is_resumed_without_a_note(cli, tmp_path):
    from lra_bench.sweep import plan
    from lra_bench.sweep.history import History

    (tmp_path / "typo").mkdir()
    choice = plan.Choice(("listops",), ("linear",), (0, 1, 2), "smoke")
    History(tmp_path / "typo").plan(plan.jobs(choice))
    assert "nothing" not in cli(*SWEEP, "--out", "typo", "--resume")[1]


def test_measurements_that_are_there_are_resumed_without_a_note(cli, tmp_path):
    (tmp_path / "typo").mkdir()
    (tmp_path / "typo/efficiency.jsonl").write_text("")
    assert "nothing" not in cli(*EFFICIENCY, "--out", "typo", "--resume")[1]
