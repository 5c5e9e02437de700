"""An array that layers share is one array in checkpoints, and stays shared when they are read."""

import jax
import numpy as np
import pytest
from common import SMOKE, read_record

from lra_bench.config import make_settings
from lra_bench.registry import make_task
from lra_bench.training import restore
from lra_bench.training.evaluator import Evaluator
from lra_bench.training.learner import make_learner

SHARED = "encoder.blocks.0.attention.attend.key_projection"
OPTIONS = ("attention.sharing=layerwise-by-head", "attention.num_projected=8", "model.num_layers=2")


@pytest.mark.slow
def test_of_linformer_in_a_run_that_goes_on_and_in_one_that_starts_from_it(
    cli, tmp_path, monkeypatch
):
    """The second run tests what it read before any step: the same model, to the last digit."""
    options = [f"--set={each}" for each in (*OPTIONS, "train.eval_every=12")]
    args = (*SMOKE, "--attention", "linformer", *options)
    evaluate = Evaluator.evaluate

    def stopping(self, state, split, bar=None):
        found = evaluate(self, state, split, bar)
        self.stop.made = True
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "evaluate", stopping)
        assert cli(*args, "--out", tmp_path / "run")[0] == 1
    assert cli(*args, "--out", tmp_path / "run", "--resume")[0] == 0
    settings = make_settings("listops", "linformer", "smoke", 0, OPTIONS)
    learner = make_learner(make_task("listops", settings.data), settings)
    _, params, sampled, _ = restore.load_state(tmp_path / "run")
    assert [name for name in params if "attend" in name] == [SHARED]
    assert params[SHARED].shape == (2, 48, 8)
    model = learner.merge(params, sampled)
    one, other = (block.attention.attend.key_projection for block in model.encoder.blocks)
    assert one is other
    before = learner.init(jax.random.key(0)).params[SHARED]
    assert np.abs(params[SHARED] - before).max() > 0
    still = ("--set=train.learning_rate=1e-12", "--init-from", tmp_path / "run")
    assert cli(*args, *still, "--out", tmp_path / "next")[0] == 0
    first, second = (read_record(tmp_path / name / "record.json") for name in ("run", "next"))
    assert second["init_from"]["test"] == first["test"]
