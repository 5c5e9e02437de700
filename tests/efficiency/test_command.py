"""lra-bench efficiency with real measuring processes."""

import importlib.util
import signal
import subprocess
import sys
import time

import jax
import pytest
from common import QUICK
from efficiency_cases import wait_for_end

from lra_bench.efficiency import programs, records
from lra_bench.files import locked
from lra_bench.runtime.flops import count_flops

EFFICIENCY = ("efficiency", "--budget", "0.05", "--rounds", "1", "--size", "small")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return tmp_path_factory.mktemp("efficiency")


@pytest.fixture(scope="module")
def done(swept, environment):
    command = [sys.executable, "-m", "lra_bench", *EFFICIENCY, "--attentions", "linear"]
    command += ["--lengths", "64,2048", "--pass", "forward", "--memory-limit", "64MiB"]
    command += ["--out", str(swept)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


class TestCommand:
    def test_a_sweep(self, done, swept):
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        lines = records.read(swept / records.FILE)
        found = {(x.cell.attention, x.cell.length): x for x in lines}
        assert len(found) == 4
        ok = found["linear", 2048]
        assert ok.status == "ok"
        assert ok.cell.memory_limit == 64 * 2**20
        assert 0 < ok.timing.wall.q1 <= ok.timing.wall.median
        assert ok.timing.cpu.median > 0
        assert ok.compile_seconds > 0
        assert ok.environment.versions["jax"] == jax.__version__
        assert ok.memory.method == "rss"
        assert ok.memory.measured_bytes > 0
        program = programs.build(ok.cell)
        layout = programs.Layout(jax.local_devices()[:1])
        assert ok.flops == count_flops(program.function, *layout.specs(program))

    def test_it_shows_tables(self, done):
        assert "| linear " in done.stdout
        assert "efficiency.jsonl" in done.stdout

    def test_again_is_nothing_to_do(self, done, swept, cli):
        args = ("--attentions", "linear", "--lengths", "64,2048", "--pass", "forward")
        where = ("--memory-limit", "64MiB", "--out", swept)
        before = (swept / records.FILE).read_text()
        status, said, _ = cli(*EFFICIENCY, *args, *where)
        assert status == 0
        assert "4 of 4 cells are done already" in said
        assert (swept / records.FILE).read_text() == before

    def test_out_of_memory_is_a_result(self, cli, tmp_path):
        args = ("--attentions", "softmax", "--lengths", "8192,16384", "--pass", "forward")
        status, said, _ = cli(*EFFICIENCY, *args, "--memory-limit", "128MiB", "--out", tmp_path)
        assert status == 0
        first, *_, last = [
            line
            for line in records.read(tmp_path / records.FILE)
            if line.cell.attention == "softmax"
        ]
        assert (first.status, first.inferred_from) == ("out_of_memory", None)
        assert first.bytes_asked >= 8192**2 * 4
        assert first.memory.predicted_bytes > 128 * 2**20
        assert (last.status, last.inferred_from) == ("out_of_memory", 8192)
        assert "asks for" in said

    def test_an_estimate_compares_the_plan_with_the_limit(self, cli, tmp_path):
        args = ("--attentions", "softmax", "--lengths", "512,4096", "--pass", "forward")
        where = ("--target", "estimate", "--memory-limit", "64MiB", "--out", tmp_path)
        status, said, _ = cli(*EFFICIENCY, *args, *where)
        assert status == 0
        assert "estimate by the compiler" in said
        lines = records.read(tmp_path / records.FILE)
        for line in lines:
            fits = line.memory.predicted_bytes <= 64 * 2**20
            assert line.status == ("ok" if fits else "out_of_memory")
            assert line.timing is None
        assert {line.status for line in lines} == {"ok", "out_of_memory"}

    def test_a_kill_leaves_no_process_and_the_rest_is_done_later(self, spawn, tmp_path, cli):
        args = (*EFFICIENCY, "--attentions", "linear", "--lengths", "32", "--pass", "forward")
        args += ("--rounds", "2")
        process = spawn(*args, "--out", tmp_path)
        path = tmp_path / records.FILE
        while not (path.exists() and path.read_text().count("\n") == 3):  # in the second round
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(0.3)  # the next process has begun
        children = _children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for pid in children:
            with pytest.raises(ProcessLookupError):
                wait_for_end(pid)
        status, said, _ = cli(*args, "--out", tmp_path)
        assert status == 0
        assert "1 of 2 cells are done already" in said
        assert "Over 2 rounds." in said
        lines = records.read(path)
        assert [line.round for line in lines] == [1, 1, 2, 2]
        assert [line.compile_seconds is None for line in lines] == [False, False, True, True]

    def test_two_at_once_are_refused(self, cli, tmp_path):
        with locked(tmp_path / ".lock", wait=False):
            status, _, err = cli(*EFFICIENCY, "--lengths", "8", "--out", tmp_path)
        assert status == 2
        assert "another sweep" in err

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (("--attentions", "sofmax"), "did you mean 'softmax'"),
            (("--lengths", "512,,1024"), "'' is not a whole number"),
            (("--lengths", "4k"), "'4k' is not a whole number"),
            (("--memory-limit", "lots"), "not a size"),
            (("--memory-limit", "12"), "not a size from 1MiB on"),
            (("--target", "tpu-v9"), "valid: here, estimate, tpu-v4"),
            (("--budget", "0"), "not a number of seconds"),
            (("--out", "README.md"), "is a file"),
            (("--batch", "0"), "not a whole number from 1 on"),
        ],
    )
    def test_mistakes_cost_one_line(self, cli, args, words, repository, monkeypatch):
        monkeypatch.chdir(repository)
        status, _, err = cli("efficiency", *args)
        assert status == 2
        assert err.count("\n") == 1
        assert words in err

    def test_more_devices_than_there_are(self, cli, tmp_path):
        args = ("--lengths", "8", "--devices", "64", "--batch", "64", "--out", tmp_path)
        status, _, err = cli(*EFFICIENCY, "--attentions", "linear", *args)
        assert status == 2
        assert "--devices 64" in err

    @pytest.mark.slow
    def test_eight_devices_share_a_batch(self, environment, tmp_path):
        """Each device holds an eighth of the inputs."""
        flags = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=8"}
        command = [sys.executable, "-m", "lra_bench", *EFFICIENCY, "--attentions", "linear"]
        command += ["--lengths", "64", "--batch", "8", "--pass", "forward", "--out", str(tmp_path)]
        found = {}
        for devices in ("1", "8"):
            args = [*command, "--devices", devices]
            done = subprocess.run(
                args, env={**environment, **flags}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        for line in records.read(tmp_path / records.FILE):
            if line.cell.attention == "identity":
                found[line.cell.devices] = line.memory.argument_bytes
        assert found[1] == pytest.approx(8 * found[8], rel=0.01)


def _children(pid):
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs lra-bench[tpu]")
def test_a_tpu_that_is_not_there(cli, tmp_path):
    args = ("--attentions", "softmax", "--lengths", "1024,65536", "--pass", "forward")
    status, _, _ = cli(
        "efficiency", *args, "--target", "tpu-v5e", "--size", "regular", "--out", tmp_path
    )
    assert status == 0
    lines = {
        line.cell.length: line
        for line in records.read(tmp_path / records.FILE)
        if line.cell.attention == "softmax"
    }
    assert lines[1024].status == "ok"
    assert lines[65536].status == "out_of_memory"
    assert lines[65536].bytes_asked > 16 * 2**30


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="it is there")
def test_without_the_compiler_one_line_says_so(cli):
    status, _, err = cli("efficiency", "--target", "tpu-v5e")
    assert status == 2
    assert "pip install 'lra-bench[tpu]'" in err
