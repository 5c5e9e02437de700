"""Tests of the environment of a run."""

import os
import subprocess
import sys

import pytest

from lra_bench.records.record import parse_environment
from lra_bench.runtime.environment import Environment

_CPU = Environment(
    device_kind="cpu", platform="cpu", device_count=1, host_cpu="Fast", host_cpu_count=8
)


@pytest.mark.parametrize(
    ("usable", "device"),
    [(None, "1 x Fast"), (1, "1 x Fast, 1 core"), (8, "1 x Fast, 8 cores")],
)
def test_the_device_names_the_cores_that_a_run_may_use(usable, device):
    place = parse_environment({**_CPU.as_dict(), "usable_cores": usable})
    assert place is not None
    assert place.device == device


def test_an_accelerator_is_named_without_the_cores_of_its_host():
    place = Environment(device_kind="H100", platform="gpu", device_count=4, usable_cores=2)
    assert place.device == "4 x H100"


def test_an_old_record_has_no_number_of_usable_cores():
    assert "usable_cores" not in _CPU.as_dict()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot pin a process here")
def test_a_pinned_process_counts_its_own_cores():
    code = (
        "import jax, os; from lra_bench.runtime.environment import environment\n"
        "os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        "place = environment(jax.devices(), 'float32')\n"
        "print(place.usable_cores, place.device.endswith(', 1 core'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "True"]
