"""Fixtures: the command line in this process or another, and data made once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lra_bench.cli import main

# Each of these is what `run` is called with in most tests: seconds, all code paths.
SMOKE = ("run", "--preset", "smoke")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def environment(data_dir, tmp_path_factory):
    """For subprocesses: the data directory, and a cache that spares them compiling again."""
    cache = tmp_path_factory.mktemp("cache")
    return {
        **os.environ,
        "LRA_BENCH_DATA": str(data_dir),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "COLUMNS": "200",
    }


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


@pytest.fixture
def spawn(environment):
    """Start the command line in a process of its own."""

    def start(*args, env=None, **options):
        command = [sys.executable, "-m", "lra_bench", *map(str, args)]
        return subprocess.Popen(
            command,
            env={**environment, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).resolve().parent.parent
