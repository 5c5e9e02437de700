"""The code in docs/api.md and docs/quickstart.ipynb, and the commands of docs/your-attention.md."""

import ast
import json
import re

import pytest
from common import ROOT
from documents import commands
from leaderboard_cases import make, right

from lra_bench.files.json_files import write_json

pytestmark = pytest.mark.ci

DOCS = ROOT / "docs"


@pytest.fixture
def here(tmp_path, monkeypatch, data_dir):
    """A working folder; figures are drawn without a screen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("LRA_BENCH_DATA", str(data_dir))
    return tmp_path


def execute(name, code, namespace):
    """Do what the code says, in which an error names the document."""
    exec(compile(code, name, "exec"), namespace)


def test_the_examples_of_the_interface_work(here):
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "api.md").read_text(), re.M | re.S)
    namespace = {"__name__": "api"}
    for number, block in enumerate(blocks, 1):
        execute(f"docs/api.md, block {number}", block, namespace)
    assert len(blocks) == 6


def test_the_interface_names_what_there_is():
    """Each line from which the page of the interface is made."""
    import importlib

    for path in re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.M):
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__


def test_the_notebook_runs(here):
    plt = pytest.importorskip("matplotlib.pyplot")
    notebook = json.loads((DOCS / "quickstart.ipynb").read_text())
    cells = ["".join(x["source"]) for x in notebook["cells"] if x["cell_type"] == "code"]
    namespace = {"__name__": "notebook"}
    for number, cell in enumerate(cells, 1):
        execute(f"docs/quickstart.ipynb, cell {number}", cell, namespace)
    assert len(plt.get_fignums()) == 2
    plt.close("all")
    assert sorted(namespace["chosen"].attention) == ["performer-softmax", "softmax"]


def test_the_notebook_is_valid_and_has_no_outputs():
    notebook = json.loads((DOCS / "quickstart.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


FIVE = list(commands((DOCS / "your-attention.md").read_text()))[:5]


def pretend(sweep):
    """Write the records that the runs of the recipe would leave."""
    for task in ("listops", "span"):
        for name, share in (("my-attention", 0.6), ("performer-softmax", 0.4)):
            for seed in range(3):
                folder = sweep / f"{task}-{name}-seed{seed}"
                folder.mkdir(parents=True)
                run = make(name, seed, task=task, correct=right(share))
                write_json(folder / "record.json", run)


def test_the_five_commands_of_your_own_attention(here, cli):
    """As written, but for the sweep: its runs are made up."""
    new, verify, run, sweep, table = FIVE
    for command in (new, verify, run):
        status, out, err = cli(*command)
        assert status == 0, out + err
    status, out, _ = cli(*sweep, "--dry-run")
    assert status == 0
    assert out.count("12 runs") == 1
    pretend(here / "mine")
    status, out, _ = cli(*table)
    assert status == 0
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert [row.split()[1] for row in rows[1:]] == ["listops", "span"]
    assert all(row.split()[-2] == "yes" for row in rows[1:])


@pytest.mark.slow
def test_the_five_commands_with_all_runs(here, cli):
    """As written, but for the preset of the sweep, which takes half an hour."""
    new, verify, run, sweep, table = FIVE
    for command in (new, verify, run, (*sweep, "--preset", "smoke", "--no-calibration"), table):
        status, out, err = cli(*command)
        assert status == 0, out + err
    assert "my-attention minus performer-softmax" in out
