"""Measuring processes: how they end, and what limits them."""

import dataclasses
import itertools
import stat
import subprocess
import sys

import jax
import pytest
from common import PATIENCE
from efficiency_cases import cell, wait_for_end

from lra_bench.efficiency import programs, supervise
from lra_bench.registry import ATTENTIONS
from lra_bench.runtime import memory

pytestmark = pytest.mark.ci


@pytest.fixture
def pretend_child(tmp_path, monkeypatch):
    """Return a function that runs a shell script in place of the measuring process."""

    def pretend(script, time_limit=PATIENCE):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))
        return supervise.measure(cell(), None, time_limit, "")

    return pretend


class TestProcesses:
    def test_crash_hang_kill_and_memory_are_told_apart(self, pretend_child, monkeypatch):
        assert pretend_child("kill -SEGV $$").error == "SIGSEGV"
        failed = pretend_child("echo no such thing >&2; exit 3")
        assert failed.status == "crashed"
        assert failed.error == "exit status 3: no such thing"
        aborted = pretend_child('echo "what():  std::bad_alloc" >&2; kill -ABRT $$')
        assert aborted.status == "out_of_memory"
        killed = pretend_child("kill -9 $$")
        assert (killed.status, killed.error) == ("crashed", "SIGKILL")
        counts = itertools.count()
        monkeypatch.setattr(memory, "kills", lambda: next(counts))
        by_the_system = pretend_child("kill -9 $$")
        assert by_the_system.status == "out_of_memory"
        assert "no memory left" in by_the_system.error

    @pytest.mark.parametrize("number", [34, 35, 40, 63])
    def test_a_signal_without_a_name_is_a_result(self, pretend_child, number):
        found = pretend_child(f"kill -{number} $$")
        name = {34: "SIGRTMIN"}.get(number, f"signal {number}")
        assert (found.status, found.error) == ("crashed", name)

    @pytest.mark.parametrize(
        "said",
        ["MemoryError", "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 GiB"],
    )
    def test_python_and_numpy_say_that_memory_ran_out(self, pretend_child, said):
        found = pretend_child(f"echo Traceback >&2; echo '{said}' >&2; exit 1")
        assert (found.status, found.error) == ("out_of_memory", said)
        assert found.bytes_asked == (8 * 2**30 if "8.00" in said else None)

    def test_an_end_without_a_result_is_named(self, pretend_child):
        assert pretend_child("exit 0").error == "exit status 0"

    def test_a_mechanism_that_exits_fails(self, tmp_path):
        path = tmp_path / "quitter.py"
        path.write_text(
            "import sys\n"
            "from lra_bench.registry import register_attention\n\n\n"
            "@register_attention('quitter', state=lambda dims, options: 0)\n"
            "def attend(q, k, v, mask):\n"
            "    sys.exit(0)\n"
        )
        one = cell(ATTENTIONS.named(str(path)), 8)
        found = supervise.measure(one, None, PATIENCE, supervise.PLANNED)
        assert found.status == "failed"
        assert "SystemExit" in found.error

    def test_what_is_only_compiled_starts_no_accelerator(self, monkeypatch):
        asked, environment = [], {"device_kind": "cpu", "host_cpu": "Fast", "platform": "cpu"}

        def run(cell, budget, variables, *others):
            asked.append(variables.get("JAX_PLATFORMS"))
            here = {"devices": 1, "bytes": 2**30, "environment": environment}
            return supervise._End(here, 0, "", 1.0)

        monkeypatch.delenv("JAX_PLATFORMS", raising=False)
        monkeypatch.setattr(supervise, "_run", run)
        for target in ("here", "estimate", "tpu-v5e"):
            supervise.describe(target)
        assert asked == [None, "cpu", "cpu"]

    def test_a_hung_process_is_ended_with_its_children(self, pretend_child, tmp_path):
        found = pretend_child(f"sleep {PATIENCE} & echo $! > {tmp_path}/pid; wait", 5.0)
        assert (found.status, found.time_limit) == ("timed_out", 5.0)
        pid = int((tmp_path / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            wait_for_end(pid)

    def test_what_it_knew_is_kept(self, pretend_child):
        found = pretend_child('echo \'{"status": "crashed", "flops": 7}\' > "$3"; kill -SEGV $$')
        assert (found.flops, found.status, found.error) == (7, "crashed", "SIGSEGV")

    @pytest.mark.slow
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_what_just_fits_fits(self, dtype):
        """Inputs are in memory once: the arrays they were copied from are freed before the call."""
        one = cell("identity", 2**19, direction="backward", dtypes=(dtype,))
        program, layout = programs.build(one), programs.Layout(jax.local_devices()[:1])
        plan = layout.trace(program).lower().compile().memory_analysis()
        assert plan.alias_size_in_bytes == 0
        predicted = plan.argument_size_in_bytes + plan.output_size_in_bytes
        predicted += plan.temp_size_in_bytes
        for share, verdict in ((1.0, "ok"), (0.8, "out_of_memory")):
            limited = dataclasses.replace(one, memory_limit=round(share * predicted))
            found = supervise.measure(limited, None, PATIENCE, supervise.PLANNED)
            assert found.status == verdict
            assert found.memory.predicted_bytes == predicted

    def test_kills_are_counted(self):
        assert memory.kills() >= 0

    def test_the_limit_holds(self):
        """Arrays below the limit can be allocated, larger ones cannot; without a limit, all can."""
        code = (
            "import numpy as np; from lra_bench.runtime import memory\n"
            "memory.give_back_at_once(yes=True); memory.cap(2**28)\n"
            "x = np.ones(2**27, np.uint8); del x\n"
            "try: np.ones(2**29, np.uint8)\n"
            "except MemoryError: print('held', end=' ')\n"
            "memory.cap(None); np.ones(2**29, np.uint8); print('free')\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "held free\n", done.stderr
