"""The peak memory of a process is its own, in bytes."""

import subprocess
import sys
import types

import pytest

from lra_bench.runtime import memory

GROWN = 600 * 2**20
# Grow, then become another program in this process, as `exec` of a shell does, or start one.
PARENT = f"""
import os, subprocess, sys
bytearray({GROWN})
child = [sys.executable, "-c", sys.argv[1]]
os.execv(child[0], child) if sys.argv[2] == "exec" else sys.exit(subprocess.run(child).returncode)
"""
CHILD = """
from lra_bench.runtime import memory
print(memory.peak())
"""


@pytest.mark.skipif(memory.peak_method() != "VmHWM", reason="the system does not tell")
@pytest.mark.parametrize("way", ["exec", "subprocess"])
def test_the_peak_of_a_parent_does_not_count(way):
    command = [sys.executable, "-c", PARENT, CHILD, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 2**20 < int(done.stdout) < GROWN / 2


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1), ("freebsd14", 1024)])
def test_the_unit_where_the_system_tells_less(monkeypatch, system, unit):
    monkeypatch.setattr(memory, "status", lambda key: None)
    monkeypatch.setattr(sys, "platform", system)
    usage = types.SimpleNamespace(ru_maxrss=700)
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: usage)
    assert (memory.peak(), memory.peak_method()) == (700 * unit, "ru_maxrss")


def test_a_device_that_counts_its_memory_is_asked():
    def device(platform, stats):
        return types.SimpleNamespace(platform=platform, memory_stats=lambda: stats)

    assert memory.peak_of(device("gpu", {"peak_bytes_in_use": 5})) == 5
    for counts_nothing in (device("tpu", None), device("gpu", {}), device("cpu", None)):
        assert memory.peak_of(counts_nothing) > 2**20
