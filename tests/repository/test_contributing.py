"""What CONTRIBUTING says of adding an attention and a task works, word for word."""

import importlib
import itertools
import json
import operator
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT

pytestmark = pytest.mark.ci

ATTENTION, TASK = "Add an attention in 30 lines", "Add a task"


def chapter(title):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


# Imports would take most of the time of a process for each command.
DO = """
import json, os, runpy, sys
import pytest
from lra_bench.cli import main

for program, *words in json.loads(sys.argv[1]):
    if program == "python":
        sys.path.insert(0, os.path.dirname(words[0]))
        status = runpy.run_path(words[0])["main"](words[1:])
    else:
        status = {"lra-bench": main, "pytest": pytest.main}[program](words)
    if status:
        sys.exit(f"{program} {words}: {status}")
    print(end="\\0", flush=True)
"""


@pytest.fixture(scope="module")
def checkout(repository, tmp_path_factory):
    """Copy the sources, links as links, and add what both chapters tell to add."""
    folder = tmp_path_factory.mktemp("checkout")
    folders = ["attentions", "tasks", "configs", "docs", "benchmarks"]
    folders += ["lra_bench", "results", "tests"]
    copied = [*folders, "pyproject.toml", str(folder)]
    command = ["cp", "--recursive", "--no-dereference", *copied]
    subprocess.run(command, cwd=repository, check=True)
    write(ATTENTION, folder)
    write(TASK, folder)
    return folder


@pytest.fixture(scope="module")
def printed(checkout, environment):
    """Do all commands in the checkout, whose sources are those that count there, in one process.

    Return what each command of a chapter prints. The documents are made last.
    """
    env = {**environment, "PYTHONPATH": str(checkout), "PYTEST_ADDOPTS": "-n 0"}
    chapters = {title: commands(title) for title in (ATTENTION, TASK)}
    every = [*itertools.chain(*chapters.values()), ["python", "docs/generate.py"]]
    command = [sys.executable, "-c", DO, json.dumps(every)]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *texts, rest = done.stdout.split("\0")
    assert (len(texts), rest) == (len(every), "")
    texts = iter(texts)
    return {title: [next(texts) for _ in chapters[title]] for title in chapters}


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


def test_thirty_lines():
    ((_, code),) = files(ATTENTION)
    assert len(code.splitlines()) <= 30


def test_an_attention_works_as_told(printed):
    tests, run, table = printed[ATTENTION]
    assert re.search(r"2[0-9] passed", tests)
    assert "test accuracy" in run
    assert "| taylor" in table


def test_a_task_works_as_told(printed):
    _, check, show, run, table = printed[TASK]
    assert "WRONG" not in check
    assert "label same" in show
    assert "test accuracy" in run
    assert "same-ends %" in table


@pytest.mark.usefixtures("printed")
def test_what_is_added_gets_its_part_of_the_documents(checkout):
    assert "### taylor\n" in (checkout / "docs/attentions.md").read_text()
    assert "### same-ends\n" in (checkout / "docs/tasks.md").read_text()


@pytest.mark.parametrize("command", [("format", "--check"), ("check",)], ids=" ".join)
def test_what_is_added_is_clean(checkout, command):
    paths = [path for title in (ATTENTION, TASK) for path, _ in files(title)]
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run([ruff, *command, *paths], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


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
