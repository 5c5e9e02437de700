"""CONTRIBUTING's "add an attention in 30 lines" does what it says, word for word."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def chapter():
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    return text.split("## Add an attention in 30 lines")[1].split("\n## ")[0]


@pytest.fixture
def checkout(repository, tmp_path):
    """A copy of the sources, links as links."""
    copied = ["attentions", "tasks", "configs", "lra_bench", "tests", "pyproject.toml"]
    command = ["cp", "--recursive", "--no-dereference", *copied, str(tmp_path)]
    subprocess.run(command, cwd=repository, check=True)
    return tmp_path


def block(chapter, language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", chapter, re.DOTALL)
    return found


def test_thirty_lines(chapter):
    assert len(block(chapter, "python").splitlines()) <= 30


def test_it_works_as_told(chapter, checkout, environment):
    (path,) = re.findall(r"as `(attentions/\w+\.py)`", chapter)
    (checkout / path).write_text(block(chapter, "python"))
    bin_folder = Path(sys.executable).parent
    env = {
        **environment,
        "PYTHONPATH": str(checkout),
        "PATH": f"{bin_folder}{os.pathsep}{environment['PATH']}",
    }
    printed = []
    for line in block(chapter, "sh").splitlines():
        command = shlex.split(line)
        done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        printed.append(done.stdout)
    tests, run, table = printed
    assert re.search(r"1[0-9] passed", tests)
    assert "test accuracy" in run
    assert "| efficient" in table


def test_it_is_formatted_as_the_project_is(chapter, tmp_path, repository):
    file = tmp_path / "efficient.py"
    file.write_text(block(chapter, "python"))
    config = ["--config", str(repository / "pyproject.toml")]
    for action in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *action, *config, str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
