"""Runs on this machine: the cores, GPUs or TPU chips of each, and the memory of all."""

import os

import pytest

from lra_bench.errors import UsageError
from lra_bench.sweep import local_executor
from lra_bench.sweep.executor import Launch, Needs

pytestmark = pytest.mark.ci


def test_slots_of_a_cpu():
    cores = sorted(os.sched_getaffinity(0))
    assert local_executor.slots("cpu", 1, Needs(), None) == [local_executor.Slot((), {})]
    several = local_executor.slots("cpu", 1, Needs(), 2)
    assert [slot.environment for slot in several] == [{}, {}]
    if len(cores) > 1:
        assert not set(several[0].cores) & set(several[1].cores)
    assert len(local_executor.slots("cpu", 1, Needs(cpus=1), None)) == len(cores)
    assert len(local_executor.slots("cpu", 1, Needs(), len(cores) + 3)) == len(cores) + 3


def test_a_second_sweep_takes_other_cores(monkeypatch):
    """Two sweeps of one run each were pinned to the same core, and took twice the time."""
    monkeypatch.setattr(local_executor.cores, "least_taken_first", lambda: [1, 2, 0])
    (slot,) = local_executor.slots("cpu", 1, Needs(cpus=2), 1)
    assert slot.cores == (1, 2)


def test_slots_where_processes_cannot_be_pinned(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    free = local_executor.Slot((), {})
    assert local_executor.slots("cpu", 1, Needs(), None) == [free]
    assert local_executor.slots("cpu", 1, Needs(), 3) == [free] * 3
    assert local_executor.slots("cpu", 1, Needs(cpus=2), None) == [free] * 2
    with pytest.raises(UsageError, match="there are 4"):
        local_executor.slots("cpu", 1, Needs(cpus=5), None)


def test_slots_of_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    visible = [
        slot.environment["CUDA_VISIBLE_DEVICES"]
        for slot in local_executor.slots("gpu", 4, Needs(), None)
    ]
    assert visible == ["4", "5", "6", "7"]
    pairs = local_executor.slots("gpu", 4, Needs(gpus=2), None)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in pairs] == ["4,5", "6,7"]
    assert local_executor.slots("gpu", 4, Needs(gpus=4), None)[0].environment == {}
    with pytest.raises(UsageError, match="only 4"):
        local_executor.slots("gpu", 4, Needs(gpus=2), 3)


def test_runs_share_gpus(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "XLA_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    share, old = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"
    monkeypatch.delenv(old, raising=False)
    alone = [slot.environment for slot in local_executor.slots("gpu", 1, Needs(), 3)]
    assert alone == [{share: "0.3000"}] * 3
    two = [slot.environment for slot in local_executor.slots("gpu", 2, Needs(), 3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in two] == ["0", "1", "0"]
    assert {one[share] for one in two} == {"0.4500"}
    monkeypatch.setenv(old, "0.9")  # JAX refuses both names, and the newest value counts
    assert local_executor.slots("gpu", 1, Needs(), 2)[0].environment == {old: "0.4500"}


def test_a_run_that_has_gpus_for_itself_shares_none():
    with pytest.raises(UsageError, match="2 at a time with 1 GPU each: only 1 here"):
        local_executor.slots("gpu", 1, Needs(gpus=1), 2)


def test_runs_do_not_share_tpu_chips():
    with pytest.raises(UsageError, match="only 4 here"):
        local_executor.slots("tpu", 4, Needs(), 5)


def test_slots_of_tpu_chips():
    slots = local_executor.slots("tpu", 4, Needs(), None)
    assert [slot.environment["TPU_VISIBLE_DEVICES"] for slot in slots] == ["0", "1", "2", "3"]
    assert slots[0].environment["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,1,1"
    assert local_executor.slots("tpu", 4, Needs(tpus=4), None)[0].environment == {}
    with pytest.raises(UsageError, match="one of 1, 2, 4, 8"):
        local_executor.slots("tpu", 8, Needs(tpus=3), None)


@pytest.mark.parametrize(
    ("needs", "says"), [(Needs(gpus=1), "--gpus"), (Needs(cpus=999), "there are")]
)
def test_missing_hardware_is_reported(needs, says):
    with pytest.raises(UsageError, match=says):
        local_executor.slots("cpu", 1, needs, None)


def test_runs_start_together_only_if_memory_suffices(tmp_path, monkeypatch):
    monkeypatch.setattr(local_executor.memory, "of_the_machine", lambda: 10 * 2**30)
    waits = [launch_of(tmp_path, name, gib) for name, gib in (("a", 5), ("b", 4), ("c", 2))]
    pool = local_executor.LocalExecutor([local_executor.Slot((), {})] * 3, {}, watch_memory=True)
    monkeypatch.setattr(local_executor, "Process", Sleeping)
    assert pool.has_room(waits[0])
    pool.start(waits[0])
    assert not pool.has_room(waits[1])
    assert pool.has_room(waits[2])


def launch_of(folder, name, gib):
    return Launch(name, (), folder / name, folder / f"{name}.log", 1e6, gib * 2**30)


class Sleeping:
    """A process that never ends."""

    def __init__(self, launch, cores, environment):
        self.launch = launch
