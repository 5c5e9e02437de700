"""A mechanism that imitates softmax: `run --init-from`, with `attention.distil_steps`."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import SMOKE, read_record
from flax import nnx

from lra_bench.attentions.hedgehog import Hedgehog
from lra_bench.attentions.softmax import softmax
from lra_bench.config import make_settings
from lra_bench.model.classifier import Classifier
from lra_bench.registry import ATTENTIONS
from lra_bench.settings import Origin
from lra_bench.tasks.listops import ListOps
from lra_bench.training import distil, restore
from lra_bench.training.loop import Loop

pytestmark = pytest.mark.ci

HEDGEHOG = (
    *SMOKE,
    "--attention",
    "hedgehog",
    "--set=train.num_steps=8",
    "--set=train.eval_every=8",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory, data_dir):
    """A finished run with softmax."""
    from lra_bench.cli import main

    out = tmp_path_factory.mktemp("source") / "run"
    args = [*SMOKE, "--attention", "softmax", "--out", str(out), "--data-dir", str(data_dir)]
    assert main(args) == 0
    return out


@pytest.fixture
def start(monkeypatch):
    """The parameters that a run's first step is given."""
    found = {}
    fit = Loop.fit

    def spy(self, state):
        found.update({name: np.array(x) for name, x in state.params.items()})
        assert int(state.step) == 0
        return fit(self, state)

    monkeypatch.setattr(Loop, "fit", spy)
    return found


@pytest.mark.parametrize("steps", [pytest.param(0, marks=pytest.mark.slow), 40])
def test_a_run_starts_with_softmax_and_what_imitates_it(cli, source, start, tmp_path, steps):
    """Only the mechanism's own arrays are trained before; none of its steps is the run's."""
    out = tmp_path / "run"
    options = ("--init-from", source, f"--set=attention.distil_steps={steps}", "--out", out)
    status, printed, _ = cli(*HEDGEHOG, *options)
    assert status == 0
    _, there, _, _ = restore.load_state(source)
    own = {name for name in start if ".attend." in name}
    assert own == start.keys() - there.keys()
    for name, value in there.items():
        np.testing.assert_array_equal(start[name], value, err_msg=name)
    for name in own:
        moved = np.abs(start[name] - np.eye(start[name].shape[-1])).max()
        assert moved > 0.05 if steps else moved == 0
    record = read_record(out / "record.json")
    assert record["steps"] == 8
    assert record["init_from"]["validation"]["examples"] == 64
    (said,) = [line for line in printed.splitlines() if "distilled" in line] or [""]
    assert bool(said) == bool(steps)
    if steps:
        words = said.split()
        assert float(words[-1]) < float(words[-4]) - 0.001, said


def test_distillation_needs_a_run_to_imitate(cli, tmp_path):
    out = tmp_path / "run"
    status, _, err = cli(*HEDGEHOG, "--set=attention.distil_steps=5", "--out", out)
    assert status == 2
    assert "attention.distil_steps=5: needs --init-from" in err
    assert not out.exists()


def test_what_is_taken_from_another_run():
    """All of a run with the same mechanism; of one with another, all but its own arrays."""
    arrays = {"a.attend.query_map": jnp.zeros(1), "a.query.kernel": jnp.zeros(1)}

    def taken(attention, of):
        origin = Origin("run", "0" * 64, "listops", of, 8, None)
        settings = make_settings("listops", attention, "smoke", 0, [], init_from=origin)
        return set(distil.taken(settings, arrays))

    assert taken("hedgehog", "hedgehog") == arrays.keys()
    assert taken("hedgehog", "softmax") == {"a.query.kernel"}
    assert taken("linformer", "softmax") == arrays.keys()


def test_the_loss_is_that_of_the_queries_and_keys_of_softmax():
    """Those of the second layer follow from softmax in the first, not from the mechanism."""
    task, rng = ListOps(min_length=0, max_length=40), np.random.default_rng(0)
    settings = make_settings("listops", "hedgehog", "smoke", 0, ["model.num_layers=2"]).model
    # Hedgehog draws nothing, so both models have the same parameters but for its own.
    hedgehog, exact = (
        Classifier(task, settings, name, {}, nnx.Rngs(0)) for name in ("hedgehog", "softmax")
    )
    tokens = rng.integers(1, 16, (2, 40))
    tokens[1, 25:] = 0
    losses = []

    def observed(q, k, v, mask):
        losses.append(Hedgehog.distillation_loss(own[len(losses)], q, k, mask))
        return softmax(q, k, v, mask)

    own = [block.attention.attend for block in hedgehog.encoder.blocks]
    for block in exact.encoder.blocks:
        block.attention.attend = observed

    def expected():
        exact(tokens)
        assert len(losses) == 2
        return losses

    parts = nnx.split(hedgehog)  # what a program changes, it has to make
    found = jax.jit(lambda: distil.distillation_loss(nnx.merge(*parts), tokens))()
    losses = jax.jit(expected)()
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)


@pytest.mark.parametrize("override", ["model.remat=true", "model.remat=false"])
def test_the_softmax_that_a_causal_mechanism_imitates_is_causal(override):
    """So what comes later changes no query and no key, and not the loss of earlier tokens."""
    task = ListOps(min_length=0, max_length=40)
    settings = make_settings("listops", "hedgehog", "smoke", 0, ["model.num_layers=2", override])
    model = Classifier(task, settings.model, "hedgehog", {"causal": True}, nnx.Rngs(0))
    parts = nnx.split(model)
    seen, teacher = [], ATTENTIONS.get(distil._TEACHER)

    def noted(q, k, v, mask, *, causal):
        assert causal
        seen.append(q)
        return teacher.target(q, k, v, mask, causal=causal)

    entry = replace(teacher, target=noted)
    tokens = np.random.default_rng(0).integers(1, 16, (2, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ATTENTIONS._entries, distil._TEACHER, entry)
        for _ in range(2):
            assert np.isfinite(distil.distillation_loss(nnx.merge(*parts), tokens))
            tokens[:, 30:] = 1
    before, after = seen[1], seen[3]  # of the second layer
    np.testing.assert_allclose(before[:, :30], after[:, :30], atol=1e-5)
    assert np.abs(before[:, 30:] - after[:, 30:]).max() > 1e-2
