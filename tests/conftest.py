"""Fixtures: the command line in this process or another, and data made once."""

import gc
import os
import shutil
import sys
import tempfile

import hypothesis
import pytest
from common import QUICK, ROOT
from started import end_all, popen

from lra_bench.cli import main

LONG = ("faults/", "runtime/", "sweep/", "efficiency/", "cli/", "test_attention_contract")


def pytest_configure(config):
    """Quick compiling and one cache of it for all tests, those in other processes too.

    JAX reads both when it is imported, hence not from a fixture.
    """
    hypothesis.settings.register_profile(
        "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("busy")
    os.environ.setdefault("XLA_FLAGS", QUICK)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lra-bench-cache-")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        cache = os.environ["JAX_COMPILATION_CACHE_DIR"]
        config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))


def pytest_collection_finish():
    """Leave what was imported out of garbage collection, which would go through it each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_collection_modifyitems(items):
    """Files that take long come first: the last are then short, and none waits."""
    items.sort(key=lambda item: not any(word in item.nodeid for word in LONG))


@pytest.fixture(autouse=True, scope="module")
def _own_leaks():
    """Collect garbage, so that a file left open is blamed on the tests that opened it."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_processes():
    """End what a test has started, also where it failed: the next test shall not pay for it."""
    yield
    end_all()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def environment(data_dir):
    """Variables of subprocesses: the data directory and a width at which no line wraps."""
    return {**os.environ, "LRA_BENCH_DATA": str(data_dir), "COLUMNS": "200"}


@pytest.fixture
def cli(capsys, monkeypatch, data_dir):
    """Call the command line in this process: status, standard output, standard error."""
    monkeypatch.setenv("LRA_BENCH_DATA", str(data_dir))

    def call(*args):
        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as exit_:
            status = exit_.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture(autouse=True)
def registries_kept():
    """Forget afterwards what is not of the package; other tests go through all names."""
    from lra_bench.registry import ATTENTIONS, TASKS

    before = [(registry, dict(registry._entries)) for registry in (ATTENTIONS, TASKS)]
    yield
    for registry, entries in before:
        added = registry._entries.keys() - entries.keys()
        for name in added:
            if not registry._entries[name].module.startswith("lra_bench."):
                del registry._entries[name]


@pytest.fixture
def spawn(environment):
    """Start the command line in a process of its own, by a wrapping command if one is given."""

    def start(*args, env=None, wrapper=(), **options):
        command = [*wrapper, sys.executable, "-m", "lra_bench", *map(str, args)]
        return popen(command, env={**environment, **(env or {})}, **options)

    return start


@pytest.fixture(scope="session")
def repository():
    return ROOT
