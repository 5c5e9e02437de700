"""Requests to stop while the program starts, imports, or starts workers."""

import signal
import subprocess
import sys
import types

import pytest

from lra_bench import __main__
from lra_bench.runtime.signals import interruptible
from lra_bench.tasks._parallel import _held_back

SENDING = "import os, signal, time; os.kill(os.getpid(), signal.{}); time.sleep(60)"
IMPORTING = """
import sys
from lra_bench.runtime.signals import interruptible
sys.path.insert(0, sys.argv[1])
try:
    with interruptible():
        import sending
except BaseException:
    print("an exception went through the import")
"""


def test_interrupted_before_the_command_line_is_there(monkeypatch, capsys):
    def interrupt(name):
        raise KeyboardInterrupt

    module = types.ModuleType("lra_bench.cli")
    module.__getattr__ = interrupt
    monkeypatch.setitem(sys.modules, "lra_bench.cli", module)
    assert __main__.main() == 1
    assert capsys.readouterr().err == "lra-bench: interrupted\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_no_exception_goes_through_an_import(tmp_path, name):
    """It can crash the C code of a module, or come out as another exception."""
    (tmp_path / "sending.py").write_text(SENDING.format(name))
    command = [sys.executable, "-c", IMPORTING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "lra-bench: interrupted\n")


def test_handlers_are_those_of_before_afterwards():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with interruptible() as was_interrupted:
        assert not was_interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert was_interrupted()
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_waits_while_a_worker_is_started(number):
    """The worker starts with the signals blocked, until it says how it takes them."""
    blocked = []

    def start():
        with _held_back():
            signal.raise_signal(number)
            blocked.append(number in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    with interruptible(), pytest.raises(KeyboardInterrupt):
        start()
    assert blocked == [True]
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
