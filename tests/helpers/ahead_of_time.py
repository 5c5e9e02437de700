"""Tests that compile for devices that aren't there: what compiled before is skipped."""

import contextlib
import hashlib
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from common import HELPERS

SECONDS = 1800


def checksum(repository, *packages):
    """Return a checksum of all that the outcome depends on."""
    digest = hashlib.sha256(" ".join(version(package) for package in packages).encode())
    for folder in ("attentions", "configs", "tasks", "lra_bench"):
        for file in sorted((repository / folder).rglob("*")):
            if file.suffix in (".py", ".txt"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def outcomes(request, code, environment, *args):
    """Yield what became of each program, by name; skip if all of this passed before.

    Args:
        request: of the test, whose cache remembers the code with which it passed.
        code: its checksum.
        environment: variables of the process that compiles.
        args: of `compile_ahead.py`.
    """
    key = "ahead_of_time/" + "-".join(args)
    if request.config.cache.get(key, None) == code:
        pytest.skip("compiled before, with this code")
    command = [sys.executable, str(HELPERS / "compile_ahead.py"), *args]
    env = {**os.environ, "XLA_FLAGS": "", **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    yield dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    request.config.cache.set(key, code)
