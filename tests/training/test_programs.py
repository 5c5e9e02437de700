"""The functions of a run, compiled beside each other."""

import functools
import types

import jax
import numpy as np
import pytest

from lra_bench.config import make_settings
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.runtime.compile_options import quick
from lra_bench.runtime.devices import choose_devices
from lra_bench.training import programs
from lra_bench.training.learner import make_learner

pytestmark = pytest.mark.ci

# XLA's own level, whatever flags the tests compile with.
NORMAL = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}


@functools.cache
def learner_of(attention, *overrides):
    settings = make_settings("listops", attention, "smoke", 0, overrides)
    task = make_task("listops", settings.data)
    return settings, make_learner(task, settings), task.max_len


def compiled(function, options):
    key = jax.random.key(3)
    lowered = jax.jit(function).lower(key)
    return [np.asarray(x) for x in jax.tree.leaves(lowered.compile(options)(key))]


SOME = "performer-softmax"  # it draws by a QR decomposition, beside what all models draw
OTHERS = [
    pytest.param(name, (), marks=pytest.mark.slow) for name in ATTENTIONS.names() if name != SOME
]


@pytest.mark.parametrize(("attention", "overrides"), [(SOME, ("model.num_layers=1",)), *OTHERS])
def test_the_first_state_is_that_of_a_normal_compilation(monkeypatch, attention, overrides):
    """Level 0 fails this test: it does not contract additions and multiplications."""
    monkeypatch.setenv("XLA_FLAGS", "")
    _, learner, _ = learner_of(attention, *overrides)
    quickly = compiled(learner.init, {**NORMAL, **quick("cpu")})
    for array, normal in zip(quickly, compiled(learner.init, NORMAL), strict=True):
        assert (array.dtype, array.tobytes()) == (normal.dtype, normal.tobytes())


def new_programs():
    settings, learner, length = learner_of("identity", "model.num_layers=1")
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 16, (32, length)).astype(np.uint8)
    split = types.SimpleNamespace(tokens=tokens, labels=tokens[:, 0].astype(np.int32) % 10)
    split = type("Split", (), {**vars(split), "__len__": lambda self: 32})()
    store = types.SimpleNamespace(splits=dict.fromkeys(("train", "validation"), split))
    return programs.Programs(learner, settings, store, choose_devices(settings.train))


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_compiles_the_same_programs(monkeypatch, threads):
    monkeypatch.setattr(programs, "threads", lambda processes: threads)
    made = new_programs()
    made.compile()
    state, loss = made.train_step(made.init(), made.train_batch(0))
    assert int(made.without_window(state).step) == 1
    assert np.isfinite(loss)


def test_a_failure_of_the_compiler_is_raised(monkeypatch):
    def fail(lowered):
        raise RuntimeError("LLVM ran out of registers")

    monkeypatch.setattr(programs, "_compile_timed", fail)
    with pytest.raises(RuntimeError, match="ran out of registers"):
        new_programs().compile()
