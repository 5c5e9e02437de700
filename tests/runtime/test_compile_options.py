"""Programs that run once are compiled quickly, without a change of their results."""

import pytest

from lra_bench.runtime import compile_options


@pytest.mark.parametrize("flags", ["", "--xla_cpu_max_isa=AVX2"])
def test_only_cpus_have_such_options(monkeypatch, flags):
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert compile_options.quick("cpu") == {"xla_backend_optimization_level": 1}
    assert compile_options.quick("gpu") == compile_options.quick("tpu") == {}


def test_a_level_that_the_user_sets_is_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert compile_options.quick("cpu") == {}


def test_several_processes_compile_in_one_order(monkeypatch):
    monkeypatch.setattr(compile_options.os, "sched_getaffinity", lambda pid: {0, 3, 5}, False)
    assert compile_options.threads(1) == 3
    assert compile_options.threads(2) == 1
