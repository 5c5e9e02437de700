"""Processes that compute get huge pages where the system offers them, and nothing else changes."""

import os
import signal
import sys
from pathlib import Path

import pytest
from common import PATIENCE
from started import popen

from lra_bench.efficiency import supervise
from lra_bench.runtime import huge_pages
from lra_bench.sweep.executor import Launch
from lra_bench.sweep.process import Process

ASKED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Make this system one of a certain kind."""

    def make(setting="always [madvise] never", libc="glibc 2.36", status="THP_enabled:\t1\n"):
        for name, text in (("_SETTING", setting), ("_STATUS", status)):
            path = tmp_path / name
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
            monkeypatch.setattr(huge_pages, name, path)

        def confstr(name):
            if libc is None:
                raise ValueError("unrecognized configuration name")
            return libc

        monkeypatch.setattr(huge_pages.os, "confstr", confstr)

    return make


def test_malloc_is_made_to_ask_for_them(system):
    system()
    assert huge_pages.variables({}) == ASKED
    others = {"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=2048"}
    added = huge_pages.variables(others)
    assert added == {"GLIBC_TUNABLES": f"{others['GLIBC_TUNABLES']}:glibc.malloc.hugetlb=1"}
    assert huge_pages.kind(added) == huge_pages.kind(ASKED) == "malloc"
    off = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    assert {huge_pages.kind(x) for x in ({}, others, off)} == {"none"}


@pytest.mark.parametrize("value", ["hugetlb=0", "hugetlb=1", "hugetlb=2", "arena_max=1"])
def test_what_the_user_has_set_is_kept(system, value):
    system()
    assert huge_pages.variables({"GLIBC_TUNABLES": f"glibc.malloc.{value}"}) == {}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (None, {"setting": None, "status": None, "libc": None}),  # macOS
        ("none", {"libc": None}),  # musl
        ("none", {"libc": ""}),
        ("none", {"libc": "glibc 2.34"}),
        ("none", {"libc": "glibc 2.3x"}),
        ("none", {"setting": "always madvise [never]"}),
        ("none", {"status": "THP_enabled:\t0\n"}),
        ("always", {"setting": "[always] madvise never"}),
        (None, {"setting": None}),  # a kernel without them
    ],
)
def test_nothing_is_done_where_it_has_no_effect(system, kind, changes):
    system(**changes)
    assert huge_pages.variables({}) == {}
    assert huge_pages.kind({}) == huge_pages.kind(ASKED) == kind


def test_processes_that_compute_get_them(system, monkeypatch, tmp_path):
    system()
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert supervise._environment("here", "")["GLIBC_TUNABLES"] == ASKED["GLIBC_TUNABLES"]
    given = []

    class Started(Exception):
        """The process would have started."""

    def start(*args, env, **options):
        given.append(env)
        raise Started

    monkeypatch.setattr("lra_bench.sweep.process.subprocess.Popen", start)
    launch = Launch("run", ("--task", "listops"), tmp_path / "run", tmp_path / "log", 60.0, None)
    with pytest.raises(Started):
        Process(launch, (), {"OWN": "1"})
    assert given[0] == {**os.environ, "OWN": "1", **ASKED}


# A program of the name given to it, on a system that offers huge pages.
PROGRAM = """
import os, pathlib, sys
from lra_bench.runtime import huge_pages
huge_pages._SETTING, huge_pages._STATUS = map(pathlib.Path, {files})
huge_pages._has_tunable = lambda: True
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.flags.utf8_mode, sys.argv[1:], flush=True)
{before}
huge_pages.restart()
print(sys.stdin.readline(), flush=True)
os.kill(os.getpid(), int(sys.argv[2]))
sys.exit(3)
"""


def run(tmp_path, name, signal_number=0, before="", **more):
    files = []
    for file, text in (("setting", "always [madvise] never"), ("status", "THP_enabled:\t1\n")):
        (tmp_path / file).write_text(text)
        files.append(str(tmp_path / file))
    program = tmp_path / name
    program.write_text(PROGRAM.format(files=files, before=before))
    env = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    command = [sys.executable, "-X", "utf8", str(program), "a b", str(signal_number)]
    process = popen(command, env={**env, **more}, stdin=-1)
    out, err = process.communicate("a line of input\n", timeout=PATIENCE)
    assert err == ""
    return process.pid, process.returncode, [line for line in out.splitlines() if line]


@pytest.mark.parametrize("name", ["lra-bench", "__main__.py"])
def test_a_program_starts_anew_once_in_the_same_process(tmp_path, name):
    pid, status, lines = run(tmp_path, name)
    arguments = f"1 {['a b', '0']}"
    tunables = ASKED["GLIBC_TUNABLES"]
    first, second = f"{pid} None {arguments}", f"{pid} {tunables} {arguments}"
    assert lines == [first, second, "a line of input"]
    assert status == 3


def test_a_signal_ends_it_as_before(tmp_path):
    assert run(tmp_path, "lra-bench", int(signal.SIGTERM))[1] == -signal.SIGTERM


@pytest.mark.parametrize(
    ("name", "before", "more"),
    [
        ("of-the-user.py", "", {}),
        ("lra-bench", "sys.settrace(lambda *_: None)", {}),
        ("lra-bench", "sys.executable = ''", {}),
        ("lra-bench", "sys.executable = '/not/there'", {}),
        ("lra-bench", "", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}),
    ],
)
def test_it_goes_on_where_it_must_not_or_cannot_start_anew(tmp_path, name, before, more):
    _, status, lines = run(tmp_path, name, before=before, **more)
    assert (status, len(lines)) == (3, 2)


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the system does not tell")
def test_it_keeps_the_name_of_its_process(tmp_path):
    """Processes are found by it, as by `killall lra-bench`."""
    before = "print(pathlib.Path('/proc/self/comm').read_text())"
    tell = f"import atexit; atexit.register(lambda: {before})"
    assert run(tmp_path, "lra-bench", before=tell)[2][-1] == "lra-bench"
