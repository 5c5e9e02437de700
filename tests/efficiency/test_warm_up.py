"""What a call needs in memory, by what the system or the device tells of it."""

import types

import jax
import numpy as np
import pytest
from efficiency_cases import cell

from lra_bench.efficiency import child, programs
from lra_bench.runtime import memory

MIB = 2**20


class Gpu:
    """A device whose calls need 30 MiB above the 10 that are in use; more was needed before."""

    platform = "gpu"

    def __init__(self, before):
        self.peak = before

    def memory_stats(self):
        return {"bytes_in_use": 10 * MIB, "peak_bytes_in_use": self.peak}

    def call(self):
        self.peak = max(self.peak, 40 * MIB)


@pytest.mark.parametrize(("before", "grown"), [(10, 30), (40, None), (70, None)])
def test_only_a_call_that_raises_the_peak_of_a_gpu_is_measured(before, grown):
    gpu = Gpu(before * MIB)
    found = child._warm_up(gpu.call, gpu)[1]
    assert found == (None if grown is None else grown * MIB)


def test_nothing_is_measured_where_the_peak_cannot_start_anew(monkeypatch):
    cpu = types.SimpleNamespace(platform="cpu")
    if memory.resident() is not None:
        assert child._warm_up(lambda: bytearray(200 * MIB), cpu)[1] > 150 * MIB
    monkeypatch.setattr(memory.Path, "write_text", _refused)
    assert memory.resident() is None
    assert child._warm_up(lambda: None, cpu)[1] is None


def _refused(*_):
    raise PermissionError


def test_labels_are_drawn_for_tasks_that_predict_tokens():
    one = cell(
        "softmax", 32, scope="model", sizes=("text-lm",), preset="smoke", direction="backward"
    )
    program = programs.build(one)
    labels = program.inputs[-1].draw(np.random.default_rng(0))
    assert labels.shape == (one.batch,)
    assert not labels.any()
    jax.eval_shape(program.function, jax.eval_shape(program.init, jax.random.key(0)),
                   *(each.draw(np.random.default_rng(0)) for each in program.inputs))  # fmt: skip
