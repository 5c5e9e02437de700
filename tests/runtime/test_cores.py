"""The cores of this machine, and those that other processes are pinned to."""

import os
import subprocess
import sys

import pytest

from lra_bench.runtime import cores

PINNED = "import os, sys; os.sched_setaffinity(0, {%d}); print(flush=True); sys.stdin.read()"


@pytest.mark.skipif(not cores.can_pin(), reason="processes cannot be pinned here")
def test_the_cores_of_a_pinned_process():
    core = cores.usable()[-1]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PINNED % core], **pipes) as process:
        process.stdout.readline()
        assert cores._allowed(cores._PROCESSES / str(process.pid)) == {core}
        process.stdin.close()


def test_cores_that_are_equally_taken_are_in_order(monkeypatch):
    monkeypatch.setattr(cores, "usable", lambda: [0, 2, 4, 6])
    monkeypatch.setattr(cores, "_pinned", lambda usable: cores.Counter({0: 2, 4: 1, 6: 1}))
    assert cores.least_taken_first() == [2, 4, 6, 0]


def test_processes_that_may_use_all_cores_take_none(tmp_path, monkeypatch):
    """Nor do threads of the kernel, which have no command line, and processes that have ended."""
    allowed = {1: {0, 1}, 2: {0, 1, 2, 3}, 3: {1}, 4: {0}}
    for number in (*allowed, 5):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_bytes(b"" if number == 4 else b"python")
    (tmp_path / "3" / "cmdline").unlink()
    monkeypatch.setattr(cores, "_PROCESSES", tmp_path)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda number: of(allowed, number))
    assert cores._pinned({0, 1}) == {}
    assert cores._pinned({0, 1, 2}) == {0: 1, 1: 1}


def of(allowed, number):
    if number not in allowed:
        raise ProcessLookupError
    return allowed[number]


def test_where_processes_cannot_be_pinned(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert not cores.can_pin()
    assert cores.usable() == cores.least_taken_first() == [0, 1, 2]
