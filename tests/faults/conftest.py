"""Runs that nobody disturbs, to compare with."""

import subprocess

import pytest
from common import PATIENCE
from runs import arguments

NAMESPACE = ("unshare", "--map-root-user", "--mount", "bash", "-c")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, data_dir):
    """The folder of the run with these settings, made on demand."""
    from lra_bench.cli import main

    made = {}

    def get(attention="performer-softmax", **settings):
        key = (attention, *settings.items())
        if key not in made:
            made[key] = tmp_path_factory.mktemp("undisturbed") / "run"
            command = arguments(made[key], attention, **settings)
            assert main([*command, "--data-dir", str(data_dir)]) == 0
        return made[key]

    return get


@pytest.fixture(scope="session")
def mounting(environment, tmp_path_factory):
    """Run a script of the shell that may mount; skipped where nobody may."""
    mount = f"mount -t tmpfs none {tmp_path_factory.mktemp('mount')}"
    if subprocess.run([*NAMESPACE, mount], capture_output=True).returncode:
        pytest.skip("no user namespaces here")

    def run(text):
        return subprocess.run(
            [*NAMESPACE, text], env=environment, capture_output=True, text=True, timeout=PATIENCE
        )

    return run
