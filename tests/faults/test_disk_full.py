"""A disk that is full: one line, nothing lost, and the run goes on when there is room again.

The disk is a small tmpfs, which gives out pages of 4 KiB.
"""

import sys

import layouts
import pytest
from runs import arguments, assert_equal_runs

pytestmark = pytest.mark.ci

COMMAND = f"{sys.executable} -m lra_bench"


def disk_full(mounting, command, size, before="true"):
    """A run on a disk of that size, where the shell does something `before`; then it goes on.

    Returns:
        What it says first, what is left, and what it says with more room.
    """
    out = command[command.index("--out") + 1]
    run = f"{COMMAND} {' '.join(command)} --resume"
    done = mounting(
        f"mkdir {out}; mount -t tmpfs -o size={size} none {out}; cd {out}; {before};"
        f"{run}; echo status $?; ls -A {out};"
        f"mount -o remount,size=64m {out}; {run}; echo again $?; cp -rL {out} {out}-kept"
    )
    first, _, rest = done.stdout.partition("status 1\n")
    left, _, second = rest.partition("listops with")
    assert second.endswith("again 0\n"), done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("lra-bench: no space left")
    assert "test accuracy" not in first
    assert "record.json" not in left
    assert "tmp" not in left
    return first, left, second


@pytest.fixture
def kept(tmp_path):
    """A copy of the run from the disk that is gone."""
    return tmp_path / "run-kept"


# A checkpoint takes 188 KiB, and more where orbax writes its arrays in more parts. The first disk
# has room for none, the second for one and never for two.
@pytest.mark.parametrize("size", [pytest.param("120k", marks=pytest.mark.slow), "340k"])
def test_in_a_checkpoint(mounting, undisturbed, tmp_path, kept, size):
    first, left, second = disk_full(mounting, arguments(tmp_path / "run", "linear"), size)
    assert ("step  7" in first) == ("going on from step" in second) == (size == "340k")
    assert "metrics.jsonl" in left
    assert_equal_runs(kept, undisturbed("linear"))


@pytest.mark.slow
def test_in_config(mounting, undisturbed, tmp_path, kept):
    fill = "head -c 4096 /dev/zero > .lock"
    _, left, _ = disk_full(mounting, arguments(tmp_path / "run", "linear"), "4k", fill)
    assert "config.json" not in left
    assert_equal_runs(kept, undisturbed("linear"))


@pytest.mark.slow
def test_in_the_first_line_of_metrics(mounting, undisturbed, tmp_path, kept):
    _, left, _ = disk_full(mounting, arguments(tmp_path / "run", "linear"), "4k")
    assert "checkpoints" in left
    assert_equal_runs(kept, undisturbed("linear"))


# The config and the first half of the lines have a page each, the second half a third.
@pytest.mark.slow
@pytest.mark.parametrize(("size", "last"), [("8k", range(21, 57)), ("12k", range(60, 61))])
def test_in_a_later_line_and_in_the_record(mounting, undisturbed, tmp_path, kept, size, last):
    often = {"train.log_every": 1, "train.num_steps": 60}
    there = undisturbed("linear", **often)
    assert 4096 < (there / "metrics.jsonl").stat().st_size < 8192
    elsewhere = f"mkdir {tmp_path}/far; ln -s {tmp_path}/far checkpoints; cp {there}/config.json ."
    _, _, second = disk_full(
        mounting, arguments(tmp_path / "run", "linear", **often), size, elsewhere
    )
    assert any(f"going on from step {step}\n" in second for step in last)
    assert_equal_runs(kept, there)


# Text and image are both read from archives, listops and pathfinder are both generated.
@pytest.mark.parametrize(
    "task",
    [
        "text",
        *(
            pytest.param(task, marks=pytest.mark.slow)
            for task in ("pathfinder", "image", "listops")
        ),
    ],
)
def test_data(mounting, tmp_path, task):
    source = layouts_of(task, tmp_path)
    prepare = f"{COMMAND} data prepare {task} --preset smoke --data-dir {tmp_path}/disk {source}"
    done = mounting(
        f"mkdir {tmp_path}/disk; mount -t tmpfs -o size=16k none {tmp_path}/disk;"
        f"{prepare}; echo status $?; find {tmp_path}/disk -name manifest.json;"
        f"mount -o remount,size=64m {tmp_path}/disk; {prepare}; echo again $?"
    )
    assert f"status 1\nprepared {task}" in done.stdout, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("lra-bench: no space left")
    assert done.stdout.endswith("again 0\n")


def layouts_of(task, folder):
    """The --source of an archive that is made there; nothing for a generator."""
    if task == "text":
        return f"--source {layouts.imdb(folder / 'aclImdb_v1.tar.gz')}"
    if task == "image":
        return f"--source {layouts.cifar(folder / 'cifar-10-binary.tar.gz')}"
    return ""
