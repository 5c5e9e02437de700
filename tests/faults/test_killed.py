"""A run that is killed at any moment, and resumed, equals one that never was.

LRA_BENCH_KILLS=20 kills more often, LRA_BENCH_SEED=N at the moments of an earlier time.
"""

import functools
import os
import random
import time

import pytest
from common import HELPERS, PATIENCE
from runs import (
    SETTINGS,
    STEPS,
    arguments,
    assert_equal_runs,
    finish,
    has_lines,
    kills,
    start,
    wait_until,
)

SEED = int(os.environ.get("LRA_BENCH_SEED", random.randrange(10**6)))
KILLER = HELPERS / "killed.py"
EVALUATED = [*range(7, STEPS, SETTINGS["train.eval_every"]), STEPS]
# Lines of training, of validation and of the test, after the file as a whole.
WRITES = 1 + -(-STEPS // SETTINGS["train.log_every"]) + len(EVALUATED) + 1
# With parameters of their own, with sampled state, with neither: the others are like one of these.
ATTENTIONS = ("performer-softmax", "linformer", "reformer", "softmax")


def moments(chance):
    """What is to happen, the how-maniest time, and how many seconds later to kill.

    Without a word it is any moment of the run: a share of its duration instead of seconds.
    """
    step = chance.choice(EVALUATED)
    begun = f"checkpoints/{step}.orbax-checkpoint-tmp"
    return [
        (begun, 1, 0),  # a line of metrics is without its checkpoint
        (begun, chance.randint(2, 16), chance.uniform(0, 0.01)),  # half a checkpoint is there
        (f"{step}/.checksums.json", chance.randint(1, 2), 0),  # it is whole, but doesn't say so
        ("/metrics/", chance.randint(1, 4), 0),  # an older one is being deleted
        ("half record.json", 1, 0),
        (".record.json", chance.randint(1, 2), 0),  # it isn't there, or not in its place
        ("half metrics.jsonl", chance.randint(2, WRITES), 0),
        (f"{STEPS}/.checksums.json", 2, chance.uniform(0, 0.1)),  # testing
        (".metrics.jsonl", 2, chance.uniform(0, 0.3)),  # before the first step
        ("half config.json", 1, 0),
        (None, 0, chance.random()),
        (None, 0, chance.random()),
    ]


def kill(environment, command, moment):
    """Have it killed; whether it came to that."""
    word, number, delay = moment
    if word is None:
        process = start(environment, command)
        time.sleep(delay)
        process.kill()
    else:
        process = start(environment, [word, number, delay, *command], by=(KILLER,))
    printed, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (-9, 0), printed + err
    return process.returncode == -9


@pytest.fixture(scope="module")
def duration(environment, tmp_path_factory):
    """Seconds that a run takes from the start of its process, measured once it is asked for."""

    @functools.cache
    def measured():
        started = time.monotonic()
        finish(environment, arguments(tmp_path_factory.mktemp("timed") / "run"))
        return time.monotonic() - started

    return measured


@pytest.mark.parametrize("number", range(kills(1)))
def test_kill_and_resume(environment, undisturbed, duration, tmp_path, number):
    drawn = moments(random.Random(f"{SEED} {number}"))
    order = random.Random(SEED).sample(range(len(drawn)), len(drawn))
    word, count, delay = drawn[order[number % len(drawn)]]
    moment = word, count, delay if word else delay * duration()
    attention = ATTENTIONS[number % len(ATTENTIONS)]
    print("seed", SEED, "number", number, attention, "killed at", moment)
    command = arguments(tmp_path / "run", attention)
    # A run on a fast machine may end within the delay.
    assert kill(environment, command, moment) or word is None or delay > 0
    finish(environment, command)
    assert_equal_runs(tmp_path / "run", undisturbed(attention))
    assert not leftovers(tmp_path / "run")


def leftovers(folder):
    """What was begun and never ended."""
    found = [x for x in folder.rglob("*") if "tmp" in x.name or x.name == ".deleted"]
    return [x for x in found if "aside-" not in str(x)]


@pytest.mark.slow
def test_killed_again_and_again(environment, undisturbed, tmp_path):
    """Each time a bit further on; the last attempt is left alone."""
    chance, command = random.Random(SEED), arguments(tmp_path / "run")
    for step in (7, 14, 28):
        moment = (f"checkpoints/{step}", chance.randint(1, 18), chance.uniform(0, 0.02))
        print("seed", SEED, "killed at", moment)
        assert kill(environment, [*command, "--resume"], moment)
    finish(environment, command)
    assert_equal_runs(tmp_path / "run", undisturbed())


@pytest.mark.slow
def test_killed_while_an_old_checkpoint_is_deleted(environment, undisturbed, tmp_path):
    """Half of it is no reason to begin again."""
    command = arguments(tmp_path / "run")
    assert kill(environment, command, ("/metrics/", 2, 0))
    printed = finish(environment, command)
    assert "going on from step" in printed
    assert "damaged" not in printed
    assert_equal_runs(tmp_path / "run", undisturbed())


@pytest.mark.slow
def test_killed_between_a_stop_and_its_evaluation(environment, undisturbed, tmp_path):
    """An evaluation is written once, though its line came before its checkpoint."""
    slow = {"data.validation_size": 300, "train.eval_batch_size": 1, "train.num_steps": 14}
    command = arguments(tmp_path / "run", **slow, **{"train.log_every": 7})
    process = start(environment, command)
    assert wait_until(process, lambda: has_lines(tmp_path / "run", 1))
    process.terminate()
    printed, _ = process.communicate(timeout=PATIENCE)
    assert "stopped at step 7;" in printed
    assert kill(environment, [*command, "--resume"], ("checkpoints/7", 1, 0))
    finish(environment, command)
    assert_equal_runs(tmp_path / "run", undisturbed(**slow, **{"train.log_every": 7}))


@pytest.mark.slow
def test_without_resume_an_unfinished_run_is_left_alone(environment, tmp_path):
    command = arguments(tmp_path / "run", "identity")
    assert kill(environment, command, ("checkpoints/14", 5, 0))
    before = (tmp_path / "run/metrics.jsonl").read_text()
    again = start(environment, command)
    _, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 2
    assert "holds an unfinished run of this; --resume to go on with it" in err
    assert (tmp_path / "run/metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_a_torn_last_line_is_written_again(environment, undisturbed, tmp_path):
    command = arguments(tmp_path / "run", "linear")
    assert kill(environment, command, ("checkpoints/21", 1, 0))
    file = tmp_path / "run/metrics.jsonl"
    file.write_text(file.read_text().rstrip()[:-9])
    finish(environment, command)
    assert_equal_runs(tmp_path / "run", undisturbed("linear"))
