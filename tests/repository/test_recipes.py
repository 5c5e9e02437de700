"""The recipes of docs/recipes.md run as they are written, each in an empty folder."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from common import ROOT
from documents import commands
from efficiency_cases import line, parsed

from lra_bench.cli import main
from lra_bench.data.chance import Chance
from lra_bench.efficiency import supervise
from lra_bench.records import answers, record
from lra_bench.runtime.environment import Environment
from lra_bench.sweep import local_executor
from lra_bench.sweep import sweep as sweeps
from lra_bench.sweep.executor import Ending

pytestmark = pytest.mark.ci

TEXT = (ROOT / "docs/recipes.md").read_text()
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_COMMANDS, EXAMPLES = 5, 64
HOST = supervise.Host(1, 2**33, Environment(platform="cpu"), "")
TPU = "Do the full sweep on a TPU slice"
# What each recipe leaves: a file, and words in it.
LEAVES = {
    "Compare your attention with Performer": ("report/index.html", "my-attention"),
    "Make a table for a paper": ("table.tex", r"\toprule"),
    "Measure speed and memory": ("report/index.html", "performer-softmax"),
    "Draw Figure 4 of the Performer paper": ("analysis/approximation.png", ""),
    "Load a trained model in a notebook": ("runs/softmax/record.json", '"status": "ok"'),
}


def recipes():
    """The blocks of each recipe, by its heading: pairs of a language and code."""
    parts = re.split(r"^## (.*)$", TEXT, flags=re.MULTILINE)[1:]
    return {name: _BLOCK.findall(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def lines_of(shell):
    """The commands of a block of shell."""
    quoted = re.sub(r"'[^']*'", lambda found: found[0].replace("\n", " "), shell)
    return re.sub(r"(\\|(?<=&&))\n", " ", quoted).splitlines()


def call(command, folder):
    """Do one command in this process, with its output in a file where it says so."""
    command, _, file = command.partition(" > ")
    program, *words = shlex.split(command)
    assert program == "lra-bench"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(words) == 0, command
    (folder / (file or "shown")).write_text(out.getvalue())


class Pretended:
    """The process of a run of a sweep, which does not train: it writes a record."""

    def __init__(self, launch, cores, environment):
        self.launch = launch
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lra_bench.training.run.execute", pretend_to_train)
            assert main(["run", *launch.arguments, "--out", str(launch.folder)]) == 0

    def poll(self):
        return Ending(0, 1.0)


def pretend_to_train(settings, folder, *others, **more):
    """Write the record of a run in which half of the answers are right, or all but a few."""
    right = np.arange(EXAMPLES) % (2 if settings.attention == "identity" else 8) > 0
    test = record.Score(float(right.mean()), 1.0, EXAMPLES, answers.Answers(answers.pack(right)))
    begun = record.begin(settings, Chance(0.17), {"sha256": "0" * 64})
    done = replace(begun, status="ok", best_step=1, validation=test, test=test, parameters=1000)
    folder.path.mkdir(parents=True, exist_ok=True)
    record.write(folder.path, done)
    return done


def pretend_to_measure(cell, *others, **more):
    return replace(parsed([line(cell.attention, cell.length, 0.01)])[0], cell=cell)


@pytest.fixture
def here(tmp_path, monkeypatch, data_dir):
    """An empty working folder, where sweeps train nothing, and nothing is measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_BENCH_DATA", str(data_dir))
    monkeypatch.setattr(sweeps, "calibrate", lambda *_, **__: {})
    monkeypatch.setattr(local_executor, "Process", Pretended)
    monkeypatch.setattr(supervise, "measure", pretend_to_measure)
    monkeypatch.setattr(supervise, "describe", lambda *_: HOST)
    return tmp_path


def test_there_are_six_of_at_most_five_commands():
    found = recipes()
    assert set(found) == {*LEAVES, TPU}
    for name, blocks in found.items():
        shell = [code for language, code in blocks if language == "sh"]
        assert 1 <= sum(len(lines_of(code)) for code in shell) <= MOST_COMMANDS, name


@pytest.mark.parametrize("name", LEAVES)
def test_a_recipe_runs_as_written(here, name):
    """Training in sweeps and measuring are pretended; all else is done."""
    for language, code in recipes()[name]:
        if language == "python":
            exec(code, found := {})
            real = (found["tokens"][0] > 0).sum()
            assert found["matrices"][0].shape[1:] == (real, real)
            continue
        for command in lines_of(code):
            call(command, here)
    file, word = LEAVES[name]
    assert word.encode() in (here / file).read_bytes()


def test_the_sweep_of_the_slice_can_be_planned(here, capsys):
    calls = list(commands(f"```sh\n{recipes()[TPU][0][1]}```\n"))
    sweep = next(words for words in calls if words[0] == "sweep")
    assert main([*sweep, "--dry-run"]) == 0
    assert "preset paper" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAVES)
def test_a_recipe_runs_in_a_shell(name, tmp_path, environment):
    """Nothing is pretended."""
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for language, code in recipes()[name]:
        program = ["bash", "-ec"] if language == "sh" else [sys.executable, "-c"]
        run = subprocess.run(
            [*program, code], cwd=tmp_path, env={**environment, "PATH": path}, check=False
        )
        assert run.returncode == 0
    file, word = LEAVES[name]
    assert word.encode() in (tmp_path / file).read_bytes()
