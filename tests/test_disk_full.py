"""A disk that is full: one line, nothing lost, and the run goes on when there is room again.

The disk is a small tmpfs, mounted in a namespace of its own.
"""

import subprocess
import sys

import layouts
import pytest
from conftest import SMOKE

NAMESPACE = ("unshare", "--map-root-user", "--mount", "bash", "-c")
COMMAND = f"{sys.executable} -m lra_bench"


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory):
    mount = f"mount -t tmpfs none {tmp_path_factory.mktemp('mount')}"
    if subprocess.run([*NAMESPACE, mount], capture_output=True).returncode:
        pytest.skip("no user namespaces here")


def script(environment, text):
    return subprocess.run(
        [*NAMESPACE, text], env=environment, capture_output=True, text=True, timeout=300
    )


# The first fails in a checkpoint, the second already in config.json.
@pytest.mark.parametrize("size", ["200k", "4k"])
def test_run(namespaces, environment, tmp_path, size):
    run = " ".join([COMMAND, *SMOKE, "--out", f"{tmp_path}/disk/run"])
    done = script(
        environment,
        f"mkdir {tmp_path}/disk; mount -t tmpfs -o size={size} none {tmp_path}/disk;"
        f"{run}; echo status $?; ls {tmp_path}/disk/run;"
        f"mount -o remount,size=64m {tmp_path}/disk; {run} --resume; echo again $?",
    )
    first, _, second = done.stdout.partition("status 1\n")
    assert second, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    # A thread of the checkpoint library may complain of the disk, too, at its own time.
    said = [line for line in done.stderr.splitlines() if line.startswith("lra-bench: ")]
    assert len(said) == 1
    assert said[0].startswith("lra-bench: no space left")
    assert "record.json" not in second.partition("listops with")[0]
    assert "test accuracy" not in first
    assert "test accuracy" in second
    assert second.endswith("again 0\n")


@pytest.mark.parametrize("task", ["listops", "text", "image", "pathfinder"])
def test_data(namespaces, environment, tmp_path, task):
    source = layouts_of(task, tmp_path)
    prepare = f"{COMMAND} data prepare {task} --preset smoke --data-dir {tmp_path}/disk {source}"
    done = script(
        environment,
        f"mkdir {tmp_path}/disk; mount -t tmpfs -o size=16k none {tmp_path}/disk;"
        f"{prepare}; echo status $?; find {tmp_path}/disk -name manifest.json;"
        f"mount -o remount,size=64m {tmp_path}/disk; {prepare}; echo again $?",
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
