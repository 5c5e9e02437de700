"""What CONTRIBUTING says of adding an attention and a task works, word for word."""

import importlib
import operator
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT

ATTENTION, TASK = "Add an attention in 30 lines", "Add a task"


def chapter(title):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def checkout(repository, tmp_path):
    """A copy of the sources, links as links."""
    folders = ["attentions", "tasks", "configs", "docs", "lra_bench", "results", "tests"]
    copied = [*folders, "pyproject.toml", str(tmp_path)]
    command = ["cp", "--recursive", "--no-dereference", *copied]
    subprocess.run(command, cwd=repository, check=True)
    return tmp_path


@pytest.fixture
def do(checkout, environment):
    """Do a command in the checkout, whose sources are those that count there; what it prints."""
    bin_folder = Path(sys.executable).parent
    env = {
        **environment,
        "PYTHONPATH": str(checkout),
        "PYTEST_ADDOPTS": "-n 0",
        "PATH": f"{bin_folder}{os.pathsep}{environment['PATH']}",
    }

    def call(*command):
        done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def files(title):
    """The paths that the chapter names right before its code, and the code."""
    return re.findall(r"`(\w+/\w+\.py)`[^`]*\n\n```python\n(.*?)```", chapter(title), re.DOTALL)


def commands(title):
    (block,) = re.findall(r"```sh\n(.*?)```", chapter(title), re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


def write(title, checkout):
    found = files(title)
    assert len(found) == chapter(title).count("```python\n")
    for path, code in found:
        (checkout / path).write_text(code)
    return [path for path, _ in found]


def test_thirty_lines():
    ((_, code),) = files(ATTENTION)
    assert len(code.splitlines()) <= 30


def test_an_attention_works_as_told(checkout, do):
    write(ATTENTION, checkout)
    tests, run, table = (do(*command) for command in commands(ATTENTION))
    assert re.search(r"1[0-9] passed", tests)
    assert "test accuracy" in run
    assert "| efficient" in table


def test_a_task_works_as_told(checkout, do):
    write(TASK, checkout)
    _, check, show, run, table = (do(*command) for command in commands(TASK))
    assert "WRONG" not in check
    assert "label same" in show
    assert "test accuracy" in run
    assert "same-ends %" in table


def test_what_is_added_is_clean_and_gets_its_part_of_the_documents(checkout, do):
    paths = [*write(ATTENTION, checkout), *write(TASK, checkout)]
    do("ruff", "format", "--check", *paths)
    do("ruff", "check", *paths)
    do("python", "docs/generate.py")
    assert "### efficient\n" in (checkout / "docs/attentions.md").read_text()
    assert "### same-ends\n" in (checkout / "docs/tasks.md").read_text()


def table(title):
    """The rows of a chapter's table, each as its cells."""
    lines = [line for line in chapter(title).splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def test_the_way_of_a_number_leads_through_code_that_exists():
    _cell, *hops = steps = table("Where a number comes from")
    assert len(hops) == 5
    for _, path, function, _ in steps:
        module = importlib.import_module(path.strip("`").removesuffix(".py").replace("/", "."))
        assert callable(operator.attrgetter(function.strip("`"))(module))


def test_the_table_of_folders_has_them_all():
    listed = [name for row in table("The folders of `lra_bench/`") for name in _code(row[0])]
    links = {"attentions", "tasks", "configs"}
    there = {path.name for path in (ROOT / "lra_bench").glob("[!_]*") if path.name not in links}
    assert sorted(listed) == sorted(there - {"py.typed"})


def _code(text):
    return re.findall(r"`([^`]+)`", text)
