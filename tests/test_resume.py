"""A run that is killed or stopped at any moment, and resumed, equals one that never was."""

import json
import random
import signal
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest
from conftest import SMOKE

from lra_bench import record

# Enough evaluations, redrawings and dropout that a wrong key or order would show.
OPTIONS = [
    f"--set={item}"
    for item in (
        "train.num_steps=60",
        "train.eval_every=7",
        "train.log_every=4",
        "train.resample_every=5",
        "model.dropout=0.1",
    )
]


def lines(folder):
    """Metrics without the time they took."""
    keep = ("step", "split", "loss", "accuracy")
    text = (folder / "metrics.jsonl").read_text()
    return [[json.loads(line)[key] for key in keep] for line in text.splitlines()]


def final_state(folder):
    manager = ocp.CheckpointManager(
        folder / "checkpoints", item_handlers=ocp.StandardCheckpointHandler()
    )
    state = manager.restore(60)
    manager.close()
    return state


def assert_equal_runs(one, other):
    assert lines(one) == lines(other)
    found, expected = final_state(one), final_state(other)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for key in ("best_step", "validation", "test", "status", "parameters"):
        assert record.read(one / "record.json")[key] == record.read(other / "record.json")[key]


def run(spawn, attention, out, *more):
    return spawn(*SMOKE, "--attention", attention, "--out", out, *OPTIONS, *more)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir):
    """The run that nobody stops, for each attention, made on demand."""
    from lra_bench.cli import main

    root, made = tmp_path_factory.mktemp("undisturbed"), {}

    def get(attention):
        if attention not in made:
            made[attention] = root / attention
            args = (*SMOKE, "--attention", attention, "--out", str(made[attention]))
            assert main([*args, "--data-dir", str(data_dir), *OPTIONS]) == 0
        return made[attention]

    return get


def wait_for_lines(process, out, count):
    """Until the run has written so many lines of metrics, or has ended."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        file = out / "metrics.jsonl"
        if file.exists() and file.read_text().count("\n") >= count:
            return
        time.sleep(0.002)


# With parameters of their own, with sampled state, with neither: the others are like one of these.
@pytest.mark.parametrize("attention", ["softmax", "linformer", "performer-softmax", "reformer"])
def test_kill_and_resume(spawn, undisturbed, tmp_path, attention):
    """kill -9 once the first checkpoint may be there, at a moment that chance chooses."""
    out = tmp_path / "run"
    process = run(spawn, attention, out)
    wait_for_lines(process, out, 3)
    time.sleep(random.Random(attention).uniform(0, 0.6))
    process.kill()
    process.communicate()
    assert not (out / "record.json").exists()
    again = run(spawn, attention, out, "--resume")
    printed, err = again.communicate(timeout=180)
    assert again.returncode == 0, printed + err
    assert_equal_runs(out, undisturbed(attention))


def test_killed_again_and_again(spawn, undisturbed, tmp_path):
    """Kills at many moments, start-up and writing included; the last attempt is left alone."""
    out, chance = tmp_path / "run", random.Random(0)
    for attempt in range(6):
        more = ("--resume",) if out.exists() else ()
        process = run(spawn, "performer-softmax", out, *more)
        wait_for_lines(process, out, 1 + 4 * attempt)
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
    last = run(spawn, "performer-softmax", out, "--resume")
    printed, err = last.communicate(timeout=180)
    assert last.returncode == 0, printed + err
    assert_equal_runs(out, undisturbed("performer-softmax"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_saves_and_says_how_to_go_on(spawn, undisturbed, tmp_path, number):
    out = tmp_path / "run"
    process = run(spawn, "reformer", out)
    wait_for_lines(process, out, 3)
    asked = time.monotonic()
    process.send_signal(number)
    printed, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    assert process.returncode == 1
    assert "Traceback" not in printed + err
    assert "stopped at step" in printed
    assert f"--out {out}" in printed
    assert printed.rstrip().endswith("--resume")
    saved = [
        int(folder.name) for folder in (out / "checkpoints").iterdir() if folder.name.isdigit()
    ]
    assert f"stopped at step {max(saved)};" in printed
    again = run(spawn, "reformer", out, "--resume")
    printed, err = again.communicate(timeout=180)
    assert again.returncode == 0, printed + err
    assert f"going on from step {max(saved)}" in printed
    assert_equal_runs(out, undisturbed("reformer"))


def test_without_resume_an_unfinished_run_is_left_alone(spawn, tmp_path):
    out = tmp_path / "run"
    process = run(spawn, "identity", out)
    wait_for_lines(process, out, 3)
    process.kill()
    process.communicate()
    before = (out / "metrics.jsonl").read_text()
    again = run(spawn, "identity", out)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "holds an unfinished run of this; --resume to go on with it" in err
    assert (out / "metrics.jsonl").read_text() == before


def test_a_torn_last_line_is_written_again(spawn, undisturbed, tmp_path):
    out = tmp_path / "run"
    process = run(spawn, "linear", out)
    wait_for_lines(process, out, 8)
    process.kill()
    process.communicate()
    file = out / "metrics.jsonl"
    file.write_text(file.read_text().rstrip()[:-9])
    again = run(spawn, "linear", out, "--resume")
    printed, err = again.communicate(timeout=180)
    assert again.returncode == 0, printed + err
    assert_equal_runs(out, undisturbed("linear"))
