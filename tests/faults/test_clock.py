"""A clock that is set back, or forward, while a run saves: nothing waits for it to catch up."""

import time

import pytest
from runs import arguments, assert_equal_runs

from lra_bench.training.checkpoint import Checkpoints

DAY = 24 * 60 * 60.0


@pytest.mark.slow
@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_the_clock_jumps_in_every_checkpoint(cli, undisturbed, tmp_path, monkeypatch, jump):
    """Each look at the clock within a save finds it a day on; saves themselves are quick."""
    usual, save, asked = time.time, Checkpoints._save, []

    def jumping():
        asked.append(None)
        return usual() + jump * len(asked)

    def saving(*args):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", jumping)
            return save(*args)

    monkeypatch.setattr(Checkpoints, "_save", saving)
    status, printed, err = cli(*arguments(tmp_path / "run", "linear"))
    assert (status, err) == (0, ""), printed
    assert asked
    assert_equal_runs(tmp_path / "run", undisturbed("linear"))
