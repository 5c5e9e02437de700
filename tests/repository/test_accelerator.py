"""benchmarks/accelerator.sh, on a machine that has the packages it needs and no others."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest
from common import HELPERS, ROOT, read_record

pytestmark = pytest.mark.ci

SCRIPT = ROOT / "benchmarks" / "accelerator.sh"
# Its requirements without tensorflow-datasets, which only text and image need.
NEEDED = (
    "jax", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy", "pandas", "scipy",
    "tabulate", "matplotlib", "pillow", "rich", "jaxtyping",
)  # fmt: skip


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def with_requirements(names):
    """Return the names of distributions and of all that they require."""
    found, todo = set(), [normal(name) for name in names]
    while todo:
        if (name := todo.pop()) in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # for another system
            continue
        todo += [normal(re.match(r"[\w.-]+", x)[0]) for x in lines if "extra ==" not in x]
    return found


@pytest.fixture(scope="module")
def bare():
    """Return the environment of a machine that has nothing but what is needed."""
    there = with_requirements(NEEDED)
    blocked = [
        module
        for module, owners in packages_distributions().items()
        if not there & {normal(owner) for owner in owners} and module != "lra_bench"
    ]
    assert "tensorflow_datasets" in blocked
    assert "hypothesis" in blocked
    path = HELPERS / "bare"
    return {**os.environ, "BLOCKED": ",".join(blocked), "PYTHONPATH": str(path)}


def call(out, *args, env, **variables):
    command = ["bash", str(SCRIPT), str(out), *args]
    env = {**env, "TINY": "1", "PYTHON": sys.executable, **variables}
    other = out.with_name(f"{out.name}-elsewhere")  # its lra_bench is not the one to measure
    (other / "lra_bench").mkdir(parents=True, exist_ok=True)
    (other / "lra_bench/__init__.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900, cwd=other)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_requirements_are_those_of_the_package(repository):
    """All but tensorflow-datasets."""
    text = (repository / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    assert set(re.findall(r'"([\w-]+)', listed)) == {*NEEDED, "tensorflow-datasets"}


def test_listops_runs_and_a_second_call_goes_on(tmp_path, bare):
    """Nothing is installed but what the script says: not lra-bench, not tensorflow-datasets."""
    said = call(tmp_path, "9", env=bare, STAGES="device runs")
    assert "1 x cpu" in (tmp_path / "device.txt").read_text()
    assert "need pytest and hypothesis, which are not installed: skipped" in said
    record = tmp_path / "runs/listops-linear-seed0/record.json"
    assert read_record(record)["status"] == "ok"
    summary = (tmp_path / "summary.md").read_text()
    assert "| linear" in summary
    before = record.stat().st_mtime_ns
    call(tmp_path, "9", env=bare, STAGES="trainings")
    assert record.stat().st_mtime_ns == before


@pytest.mark.slow
def test_every_stage(tmp_path, bare):
    said = call(tmp_path, "30", env=bare, STAGES="device efficiency")
    assert "stopped" not in said
    text = (tmp_path / "efficiency/efficiency.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["status"] for line in lines} == {"ok"}
    cells = {(x["cell"]["length"], x["cell"]["dtype"], x["cell"]["direction"]) for x in lines}
    assert cells >= {(16, "bfloat16", "backward"), (32, "float32", "forward")}
    assert "largest length" in (tmp_path / "summary.md").read_text()


@pytest.mark.slow
def test_steps_are_measured_and_their_parts(tmp_path, bare):
    said = call(tmp_path, "30", env=bare, STAGES="device step")
    assert "stopped" not in said
    summary = (tmp_path / "summary.md").read_text()
    assert "| linear" in summary
    assert "| sum of the parts" in summary


@pytest.mark.slow
def test_contract_tests_that_passed_are_not_run_again(tmp_path):
    here = {**os.environ, "XLA_FLAGS": ""}
    assert "contract tests: 2 passed, 0 failed" in call(tmp_path, env=here, STAGES="contract")
    before = (tmp_path / "contract.txt").read_text()
    call(tmp_path, env=here, STAGES="contract")
    assert (tmp_path / "contract.txt").read_text() == before


def test_a_stage_that_is_over_leaves_the_others_their_time(tmp_path, bare):
    """With no time at all each stage says so, and the summary is written."""
    said = call(tmp_path, "0", env=bare, STAGES="efficiency trainings")
    assert said.count("the time of this stage is over") == 2
    assert (tmp_path / "summary.md").exists()


@pytest.mark.parametrize("args", [(), ("OUT", "ten"), ("OUT", "10", "more")])
def test_a_wrong_call_is_told_how(tmp_path, args):
    done = subprocess.run(
        ["bash", str(SCRIPT), *args], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "MINUTES" in done.stderr
    assert list(tmp_path.iterdir()) == []
