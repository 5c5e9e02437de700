"""A run that exceeds its memory limit says so in its record."""

import pytest
from common import PATIENCE, read_record
from runs import arguments, start

from lra_bench.records import record
from lra_bench.runtime import huge_pages

pytestmark = pytest.mark.ci

LARGE = {
    "model.emb_dim": 256,
    "model.ffn_dim": 8192,
    "train.batch_size": 512,
    "train.num_steps": 2,
}


def run(environment, command):
    process = start(environment, command)
    printed, err = process.communicate(timeout=PATIENCE)
    return process.returncode, printed, err


@pytest.mark.parametrize("limit", [pytest.param(1, marks=pytest.mark.slow), 230])
def test_a_run_that_exceeds_it(environment, tmp_path, limit):
    """Neither is enough to compile it, which is done before the limit holds: LLVM would abort."""
    command = arguments(tmp_path / "run", "identity", **LARGE)
    status, printed, err = run(environment, [*command, "--memory-limit", f"{limit}MiB"])
    assert (status, err) == (1, "")
    found = read_record(tmp_path / "run" / record.FILE)
    assert found["status"] == "out_of_memory"
    assert found["error"].endswith(f"(--memory-limit {limit} MiB)")
    assert f"out of memory: {found['error']}" in printed
    assert found["parameters"] > 1e6
    restarted = {**environment, **huge_pages.variables(environment)}
    assert found["environment"].get("huge_pages") == huge_pages.kind(restarted)
    assert not (tmp_path / "run/error.log").exists()


@pytest.mark.slow
def test_one_that_does_not(environment, tmp_path):
    command = arguments(tmp_path / "run", "identity")
    status, printed, err = run(environment, [*command, "--memory-limit", "4GiB"])
    assert (status, err) == (0, ""), printed
    assert read_record(tmp_path / "run" / record.FILE)["status"] == "ok"


@pytest.mark.parametrize("size", ["0", "12", "lots", "16GB!"])
def test_what_is_no_size(cli, tmp_path, size):
    status, _, err = cli(*arguments(tmp_path / "run"), "--memory-limit", size)
    assert status == 2
    assert f"{size!r} is not a size" in err
    assert not (tmp_path / "run").exists()
