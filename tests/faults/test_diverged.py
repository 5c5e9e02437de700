"""A loss that isn't finite: a result like any other, in its record, and shown by the table."""

import pytest
from common import read_record
from runs import arguments, lines, steps

from lra_bench.records import record

pytestmark = pytest.mark.ci

# Each update multiplies the parameters by about 1 - rate * decay.
DIVERGES = {
    "train.learning_rate": 100,
    "train.weight_decay": 10,
    "train.clip_norm": 0,
    "train.eval_every": 20,
}


@pytest.fixture
def diverged(cli, tmp_path):
    result = cli(*arguments(tmp_path / "run", **DIVERGES))
    return tmp_path / "run", result


def test_it_is_recorded(cli, diverged):
    out, (status, printed, err) = diverged
    assert (status, err) == (1, "")
    found = read_record(out / record.FILE)
    assert (found["status"], found["test"]) == ("diverged", None)
    assert found["error"] == f"the loss is not finite from step {found['steps']} on"
    assert f"diverged: {found['error']}" in printed
    assert all(line["step"] < found["steps"] for line in lines(out))
    assert steps(out) == []
    assert "FAIL (diverged)" in cli("table", out)[1]


def test_its_step_is_that_of_the_loss_if_a_validation_comes_before_a_line(cli, diverged, tmp_path):
    late = DIVERGES | {"train.log_every": 35}
    assert cli(*arguments(tmp_path / "late", **late))[0] == 1
    one, other = (read_record(folder / record.FILE) for folder in (diverged[0], tmp_path / "late"))
    assert other["steps"] < DIVERGES["train.eval_every"]
    assert (other["steps"], other["error"]) == (one["steps"], one["error"])


def test_resume_shows_it(cli, diverged):
    out, (_, first, _) = diverged
    before = (out / record.FILE).read_bytes()
    status, printed, err = cli(*arguments(out, **DIVERGES), "--resume")
    assert (status, err) == (1, "")
    assert printed.splitlines() == first.splitlines()[-2:]
    assert (out / record.FILE).read_bytes() == before


@pytest.mark.slow
def test_it_shows_at_a_validation_only(cli, tmp_path, monkeypatch):
    """The training loss is finite, that of the validation isn't."""
    from lra_bench.training.programs import Programs

    evaluate = Programs.eval_step

    def infinite(self, *args):
        sums = evaluate(self, *args)
        return sums._replace(loss=sums.loss * float("inf"))

    monkeypatch.setattr(Programs, "eval_step", infinite)
    assert cli(*arguments(tmp_path / "run"))[0] == 1
    found = read_record(tmp_path / "run" / record.FILE)
    assert (found["status"], found["steps"]) == ("diverged", 7)
