"""Which checkpoint is tested, and on how many examples."""

import pytest
from common import SMOKE, read_record

from lra_bench.training.checkpoint_format import selection, validation_accuracy


@pytest.mark.ci
def test_only_checkpoints_from_a_step_on_count(cli, tmp_path):
    """At a rate of nothing all are as good, so the first that counts is the best.

    Of 64 examples, 60 fill a batch of 60.
    """
    changes = ["train.learning_rate=1e-12", "train.eval_drop_last=true", "train.eval_batch_size=60"]
    found = {}
    for step in (0, 16):
        out = tmp_path / str(step)
        options = [f"--set={each}" for each in (*changes, f"train.select_after={step}")]
        assert cli(*SMOKE, "--attention", "identity", "--out", out, *options)[0] == 0
        record = read_record(out / "record.json")
        found[step] = record["best_step"]
        assert (record["validation"]["examples"], record["test"]["examples"]) == (60, 60)
    assert found == {0: 8, 16: 16}


@pytest.mark.parametrize("early", [False, True])
def test_the_accuracy_is_found_in_the_selection(early):
    for accuracy in (0.0, 0.4175, 1.0):
        found = validation_accuracy(50_000, selection(50_000, accuracy, early=early))
        assert found == pytest.approx(accuracy, abs=1e-9)


@pytest.mark.parametrize("early", [False, True])
def test_one_answer_of_many_outweighs_all_steps(early):
    """As many as the pixels of ImageNet64's validation images; a tie goes to the earlier step."""
    more = 0.3 + 1 / 787_000_000
    late, soon = (selection(step, 0.3, early=early) for step in (100_000, 1_000))
    assert selection(100_000, more, early=early) > soon > late


def test_any_later_checkpoint_is_better_than_an_early_one():
    assert selection(10, 1.0, early=True) < selection(20, 0.0)
    assert selection(10, 0.2, early=True) < selection(11, 0.3, early=True)
    assert selection(10, None) < selection(10, 0.0, early=True)
