"""What counts as the time of training, on a device that works while the host goes on."""

import numpy as np
import pytest

from lra_bench.config import make_settings
from lra_bench.display.progress import Display
from lra_bench.runtime.stopping import StopRequest
from lra_bench.training import loop
from lra_bench.training.learner import State, Window

STEPS, STEP, DISPATCH = 16, 0.020, 0.001


class World:
    """A clock, and a device that does one step after another; nobody waits in earnest."""

    def __init__(self, wait):
        self.now = self.ends = 0.0
        self.wait, self.empty, self.seconds = wait, wait > 0, []

    def perf_counter(self):
        return self.now

    def train_step(self, state, batch):
        """Start a step, which ends `STEP` after the one before."""
        del batch
        self.now += DISPATCH
        self.ends = max(self.now, self.ends) + STEP
        count = np.int32(state.window.steps + 1)
        window = state.window._replace(steps=count)
        return state._replace(step=state.step + 1, window=window), Pending(self, self.ends)

    def without_window(self, state):
        return state._replace(window=EMPTY)

    def get(self):
        """Wait for data."""
        self.now += self.wait

    def close(self):
        pass

    def any(self, flag):
        """Ask other processes, on the same devices as the steps."""
        self.now = max(self.now, self.ends)
        return flag

    def latest(self):
        return None

    def write(self, step, split, loss, accuracy, seconds):
        self.seconds.append(seconds)


class Pending:
    def __init__(self, world, ends):
        self.world, self.ends = world, ends

    def block_until_ready(self):
        self.world.now = max(self.world.now, self.ends)


EMPTY = Window(np.float32(0), np.float32(0), np.int32(0), np.int32(-1))


def seconds_of_a_step(monkeypatch, world, processes=None):
    monkeypatch.setattr(loop, "time", world)
    monkeypatch.setattr(loop, "Prefetch", lambda make, first: world)
    changes = [f"train.num_steps={STEPS}", f"train.log_every={STEPS}", "train.resample_every=0"]
    settings = make_settings("listops", "identity", "smoke", 0, changes).train
    world.train_batch = None
    parts = {"programs": world, "checkpoints": world, "metrics": world}
    trained = loop.Loop(
        **parts,
        settings=settings,
        display=Display(quiet=True),
        stop=StopRequest(processes),
        evaluator=None,
    ).fit(State(np.int32(0), {}, {}, None, EMPTY))
    assert int(trained.step) == STEPS
    (seconds,) = world.seconds
    return seconds / STEPS


@pytest.mark.parametrize("wait", [0, 0.010, 0.040])
def test_waiting_for_data_hides_no_step_and_is_no_step(monkeypatch, wait):
    found = seconds_of_a_step(monkeypatch, World(wait))
    assert STEP <= found <= STEP + DISPATCH + 1e-9


def test_asking_other_processes_hides_no_step(monkeypatch):
    world = World(0)
    world.size = 2
    assert seconds_of_a_step(monkeypatch, world, world) >= STEP
