"""lra-bench efficiency with real measuring processes."""

import importlib.util
import io
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import jax
import pytest
from common import PATIENCE, QUICK
from efficiency_cases import cell, wait_for_end
from started import children, popen

from lra_bench.cli import main
from lra_bench.display.progress import Display
from lra_bench.efficiency import programs, records, supervise
from lra_bench.efficiency.measure import Effort, Measuring
from lra_bench.files.locks import locked
from lra_bench.runtime.flops import flops_of

pytestmark = pytest.mark.ci

EFFICIENCY = ("efficiency", "--budget", "0.05", "--size", "small", "--pass", "forward")
ONE_ROUND = (*EFFICIENCY, "--rounds", "1")
# Two cells, since identity is always measured too.
SWEEP = (*EFFICIENCY, "--rounds", "2", "--attentions", "linear", "--lengths", "2048")
SWEEP += ("--memory-limit", "64MiB")


@pytest.fixture(scope="module")
def here():
    """Return what a measuring process tells of this machine; asking it takes seconds each time."""
    return supervise.describe()


@pytest.fixture
def efficiency(cli, here, monkeypatch):
    """Call the command in this process, which knows what machine this is."""
    monkeypatch.setattr(supervise, "describe", lambda target: here)
    return cli


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return tmp_path_factory.mktemp("efficiency")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    """Return the folder of temporary files that the killed sweep is given."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def killed(swept, temporary, environment):
    """Kill a sweep in its second round; return its standard error, and its children at its end."""
    command = [sys.executable, "-m", "lra_bench", *SWEEP, "--out", str(swept)]
    process = popen(command, env={**environment, "TMPDIR": str(temporary)})
    path = swept / records.FILE
    while not (path.exists() and path.read_text().count("\n") == 3):  # in the second round
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(0.3)  # the next process has begun
    left = children(process.pid)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    return errors, left


@pytest.fixture(scope="module")
def done(killed, swept, here, data_dir):
    """Go on with the killed sweep in this process; return status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(supervise, "describe", lambda target: here)
        patch.setenv("LRA_BENCH_DATA", str(data_dir))
        status = main([*SWEEP, "--out", str(swept)])
    return status, out.getvalue(), err.getvalue()


class TestSweep:
    """One sweep: it is killed, another goes on with it, and a third finds nothing to do."""

    def test_a_kill_leaves_no_process(self, killed):
        errors, children = killed
        assert errors == ""
        assert children
        for pid in children:
            with pytest.raises(ProcessLookupError):
                wait_for_end(pid)

    def test_the_rest_is_done_later(self, done, swept):
        status, said, errors = done
        assert (status, errors) == (0, "")
        assert "1 of 2 cells are done already" in said
        lines = records.read(swept / records.FILE)
        assert [line.round for line in lines] == [1, 1, 2, 2]
        assert [line.compile_seconds is None for line in lines] == [False, False, True, True]

    def test_no_temporary_file_stays(self, done, swept, temporary):
        assert list(temporary.iterdir()) == []
        assert sorted(path.name for path in swept.iterdir()) == [".lock", records.FILE]

    def test_what_is_measured(self, done, swept):
        lines = records.read(swept / records.FILE)
        assert {(x.cell.attention, x.cell.length) for x in lines} == {
            ("linear", 2048),
            ("identity", 2048),
        }
        ok = lines[0]
        assert (ok.cell.attention, ok.status) == ("linear", "ok")
        assert ok.cell.memory_limit == 64 * 2**20
        assert 0 < ok.timing.wall.q1 <= ok.timing.wall.median
        assert ok.timing.cpu.median > 0
        assert ok.compile_seconds > 0
        assert ok.environment.versions["jax"] == jax.__version__
        assert ok.memory.method == "rss"
        assert ok.memory.measured_bytes > 0
        program = programs.build(ok.cell)
        layout = programs.Layout(jax.local_devices()[:1])
        assert ok.flops == flops_of(layout.trace(program).jaxpr)

    def test_it_shows_tables(self, done):
        _, said, _ = done
        assert "| linear " in said
        assert "Over 2 rounds." in said
        assert "efficiency.jsonl" in said

    def test_again_is_nothing_to_do(self, done, swept, efficiency):
        before = (swept / records.FILE).read_text()
        status, said, _ = efficiency(*SWEEP, "--out", swept)
        assert status == 0
        assert "2 of 2 cells are done already" in said
        assert (swept / records.FILE).read_text() == before


class TestCommand:
    def test_out_of_memory_is_a_result(self, here, tmp_path, capsys):
        limit = 128 * 2**20
        cells = [cell("softmax", length, memory_limit=limit) for length in (8192, 16384)]
        path, effort = tmp_path / records.FILE, Effort(0.05, 1, PATIENCE, here.xla_flags)
        measuring = Measuring(path, "here", effort, Display())
        measuring.run(cells)
        assert not measuring.failed
        first, last = records.read(path)
        assert (first.status, first.inferred_from) == ("out_of_memory", None)
        assert first.bytes_asked >= 8192**2 * 4
        assert first.memory.predicted_bytes > limit
        assert (last.status, last.inferred_from) == ("out_of_memory", 8192)
        assert "asks for" in capsys.readouterr().out

    def test_an_estimate_compares_the_plan_with_the_limit(self, efficiency, tmp_path):
        args = ("--attentions", "softmax", "--lengths", "4096", "--target", "estimate")
        where = ("--memory-limit", "64MiB", "--out", tmp_path)
        status, said, _ = efficiency(*ONE_ROUND, *args, *where)
        assert status == 0
        assert "estimate by the compiler" in said
        lines = records.read(tmp_path / records.FILE)
        for line in lines:
            fits = line.memory.predicted_bytes <= 64 * 2**20
            assert line.status == ("ok" if fits else "out_of_memory")
            assert line.timing is None
        assert {line.status for line in lines} == {"ok", "out_of_memory"}

    def test_two_at_once_are_refused(self, efficiency, tmp_path):
        with locked(tmp_path / ".lock", wait=False):
            status, _, err = efficiency(*ONE_ROUND, "--lengths", "8", "--out", tmp_path)
        assert status == 2
        assert "another sweep" in err

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (("--attentions", "sofmax"), "did you mean 'softmax'"),
            (("--lengths", "512,,1024"), "'512,,1024' has an empty value"),
            (("--lengths", "4k"), "'4k' is not a whole number"),
            (("--memory-limit", "lots"), "not a size"),
            (("--memory-limit", "12"), "not a size from 1MiB on"),
            (("--target", "tpu-v9"), "valid: here, estimate, tpu-v2"),
            (("--budget", "0"), "not a time"),
            (("--out", "README.md"), "is a file"),
            (("--batch", "0"), "not a whole number from 1 to"),
        ],
    )
    def test_mistakes_cost_one_line(self, cli, args, words, repository, monkeypatch):
        monkeypatch.chdir(repository)
        status, _, err = cli("efficiency", *args)
        assert status == 2
        assert err.count("\n") == 1
        assert words in err

    def test_more_devices_than_there_are(self, efficiency, tmp_path):
        args = ("--lengths", "8", "--devices", "64", "--batch", "64", "--out", tmp_path)
        status, _, err = efficiency(*ONE_ROUND, "--attentions", "linear", *args)
        assert status == 2
        assert "--devices 64" in err

    @pytest.mark.slow
    def test_eight_devices_share_a_batch(self, environment, tmp_path):
        """Each device holds an eighth of the inputs."""
        flags = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=8"}
        command = [sys.executable, "-m", "lra_bench", *ONE_ROUND, "--attentions", "linear"]
        command += ["--lengths", "64", "--batch", "8", "--out", str(tmp_path)]
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
