"""The share of a GPU's memory that JAX takes: it is set once, and never raised."""

import os

import pytest

from lra_bench.runtime import gpu_share

NEW, OLD = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"


@pytest.fixture(autouse=True)
def gpu_of_80_gib(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 81920\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in (NEW, OLD):
        monkeypatch.setenv(name, "")


def test_a_limit_is_a_share():
    gpu_share.limit(16 * 2**30)
    assert float(os.environ[NEW]) == pytest.approx(0.2)


@pytest.mark.parametrize("name", [NEW, OLD])
@pytest.mark.parametrize(("gib", "share"), [(8, 0.1), (16, 0.2), (60, 0.25)])
def test_a_share_that_is_set_is_only_lowered(monkeypatch, name, gib, share):
    """JAX does not start if both names are set, so that name is kept which is."""
    monkeypatch.setenv(name, "0.25")
    gpu_share.limit(gib * 2**30)
    assert float(os.environ[name]) == pytest.approx(share)
    assert [os.environ[other] for other in (NEW, OLD) if other != name] == [""]


def test_without_the_tool_nothing_is_limited(monkeypatch):
    monkeypatch.setenv("PATH", "")
    gpu_share.limit(16 * 2**30)
    assert not gpu_share.is_set()
    assert gpu_share.get() == 0.75
