"""Too little memory is a line that names the cause and the remedy."""

import resource

import pytest

from lra_bench.cli import data
from lra_bench.runtime import memory

pytestmark = pytest.mark.ci


@pytest.fixture
def limited(monkeypatch):
    """Let `ulimit -v` say 1,000,000 KB."""
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: (1_000_000 * 2**10, 2**60))


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("command", [("run",), ("sweep", "--out=x"), ("efficiency", "--out=x"),
                                     ("data", "prepare", "text", "--source=.")])  # fmt: skip
def test_a_limit_that_is_too_low(cli, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aclImdb_v1.tar.gz").touch()
    status, _, err = cli(*command)
    assert status == 1
    assert err.startswith("lra-bench: out of memory: ulimit -v allows 1,000,000 KB, but ")
    assert err.endswith(": raise it\n")


@pytest.mark.usefixtures("limited")
def test_what_needs_little_runs(cli, tmp_path):
    command = ("data", "prepare", "listops", "--preset=smoke", "--data-dir", tmp_path)
    assert cli(*command)[0] == 0


def test_without_a_limit(monkeypatch):
    unlimited = (resource.RLIM_INFINITY,) * 2
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: unlimited)
    memory.require_address_space(10**12, "to compute")


ERRORS = [
    MemoryError(),
    MemoryError("Unable to allocate 9 GiB for an array"),
    ImportError("libjax_common.so: failed to map segment from shared object"),
    ImportError("std::bad_alloc"),
    RuntimeError("can't start new thread"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_memory_that_runs_out(cli, monkeypatch, error):
    def main(args, argv):
        raise error

    monkeypatch.setattr(data, "main", main)
    status, out, err = cli("data", "check", "listops")
    assert (status, out) == (1, "")
    assert err.startswith(f"lra-bench: out of memory ({type(error).__name__}")
    assert err.endswith(
        "raise the limit (ulimit -v, or that of the job), or take a smaller --preset\n"
    )
    assert len(err.splitlines()) == 1
