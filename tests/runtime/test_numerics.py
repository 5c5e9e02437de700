"""Settings of JAX that change results are pinned."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from common import SMOKE, read_record
from efficiency_cases import cell

import lra_bench.cli as cli_module
from lra_bench.config import make_settings
from lra_bench.efficiency import child, programs
from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS
from lra_bench.runtime import numerics
from lra_bench.training import restore, run

pytestmark = pytest.mark.ci

QUICK_RUN = (*SMOKE, "--attention", "performer-softmax", "--set", "train.num_steps=4",
             "--set", "attention.num_features=8")  # fmt: skip
# All that JAX 0.10 and 0.12 can be told which changes numbers, or ends a run that goes well.
OTHERWISE = {
    "JAX_DEBUG_NANS": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_DISABLE_JIT": "yes",
    "JAX_ENABLE_X64": "True",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_THREEFRY_PARTITIONABLE": "0",
}
# The versions of JAX whose settings are listed here and in `numerics`.
LISTED = ("0.10.", "0.12.")
# The settings of JAX that numbers do not depend on: where it runs, what it keeps, says and writes.
NEUTRAL = (
    "2tf", "_serialization", "export", "platform", "pjrt", "captured", "log", "explain",
    "distributed", "embedded", "mesh", "vma", "cache", "canonicalization", "schema", "traceback",
    "share_binary", "pgle_", "pcast", "pipeline", "vmap", "array_checks", "refs", "bwd_checks",
    "runtime_errors", "profile", "garbage", "magma", "collectives", "dump", "triton", "pallas",
    "mosaic", "proxy", "recover", "preemption", "backend", "visible", "mock", "async", "dcn",
    "by_process_index", "cross_host", "num_cpu", "topology", "color", "check_static", "leaked",
    "size_one", "constant_folding", "mtls", "ppermute", "cpp_shard_args", "custom_partitioning",
)  # fmt: skip


def fresh(code, **variables):
    """Run code in a process of its own whose environment says nothing of JAX but this."""
    usual = {name: text for name, text in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=usual | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


VALUES = """
import json
from enum import Enum
from lra_bench.runtime import numerics
if PIN:
    numerics.pin()
import jax
plain = lambda x: x.name.lower() if isinstance(x, Enum) else x
print(json.dumps({name: plain(x) for name, x in jax.config.values.items()}, default=str))
"""


@pytest.fixture(scope="module")
def defaults():
    return json.loads(fresh(VALUES.replace("PIN", "False")).stdout)


@pytest.mark.skipif(
    not jax.__version__.startswith(LISTED), reason="a new version of JAX: read its settings"
)
def test_pinned_are_the_defaults_and_no_setting_of_jax_is_forgotten(defaults):
    for name, value in numerics.PINNED.items():
        assert defaults.get(name, value) == value, name
    unknown = [name for name in defaults if not any(word in name for word in NEUTRAL)]
    assert set(unknown) <= set(numerics.PINNED)


def test_variables_are_overridden_and_named_once(defaults):
    done = fresh(VALUES.replace("PIN", "True"), **OTHERWISE, JAX_ENABLE_CHECKS="off")
    assert json.loads(done.stdout) == defaults
    (line,) = done.stderr.splitlines()
    assert all(f"{name}={text}" in line for name, text in OTHERWISE.items())
    assert "JAX_ENABLE_CHECKS" not in line  # off is its value anyway


def test_variables_change_no_result(cli, monkeypatch, tmp_path):
    """Also where the calling program, or a plug-in, has changed JAX itself."""
    status, _, err = cli(*QUICK_RUN, "--out", tmp_path / "usual")
    assert (status, err) == (0, "")
    for name, text in OTHERWISE.items():
        monkeypatch.setenv(name, text)
    jax.config.update("jax_enable_x64", True)
    status, _, err = cli(*QUICK_RUN, "--out", tmp_path / "other")
    assert status == 0
    assert len(err.splitlines()) == 1
    assert "JAX_ENABLE_X64=True" in err
    assert "jax_enable_x64=True" in err
    assert jnp.ones(1).dtype == jnp.float32
    usual, other = (read_record(tmp_path / name / "record.json") for name in ("usual", "other"))
    for part in ("validation", "test", "best_step", "parameters"):
        assert usual[part] == other[part]


@pytest.mark.parametrize("command", cli_module._COMPUTING, ids=lambda command: command.NAME)
def test_every_command_that_computes_overrides_them_first(cli, monkeypatch, tmp_path, command):
    """Also for the processes that a sweep or a measurement starts, which get the variables."""
    left = []
    monkeypatch.setattr(
        command, "main", lambda *_: left.append("JAX_ENABLE_X64" in os.environ) or 0
    )
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    what = {"analyze": ["approximation"], "ablate": ["kernels"], "verify": ["linear"]}
    words = what.get(command.NAME, [])
    words += [] if command.NAME == "verify" else ["--out", tmp_path / "out"]
    assert cli(command.NAME, *words)[0] == 0
    assert left == [False]


class _Enough(UsageError):
    """Ends a call where the test has seen what it wants."""


@pytest.fixture
def late(monkeypatch):
    """A plug-in that switches to 64 bits when it is imported, and what a call computes with."""
    get, seen = ATTENTIONS.get, []

    def changing(name):
        jax.config.update("jax_enable_x64", True)
        return get(name)

    def enough(*_, **__):
        seen.append(jnp.ones(1).dtype)
        raise _Enough("enough")

    monkeypatch.setattr(ATTENTIONS, "get", changing)
    yield enough, seen
    jax.config.update("jax_enable_x64", False)


def test_a_run_overrides_what_its_plugin_has_changed(cli, monkeypatch, tmp_path, late):
    enough, seen = late
    monkeypatch.setattr(run, "_held", enough)
    assert cli(*QUICK_RUN, "--out", tmp_path / "run")[0] == 2
    assert seen == [jnp.float32]


def test_a_measurement_overrides_what_its_plugin_has_changed(monkeypatch, tmp_path, late):
    enough, seen = late
    monkeypatch.setattr(programs, "build", enough)
    with pytest.raises(_Enough):
        child._Stages(cell(), tmp_path / "results")._compile()
    assert seen == [jnp.float32]


def test_a_model_that_is_read_overrides_what_its_plugin_has_changed(monkeypatch, tmp_path, late):
    enough, seen = late

    def load_state(_):
        ATTENTIONS.get("linear")
        return make_settings("listops", "linear", "smoke", 0), {}, {}, 0

    monkeypatch.setattr(restore, "load_state", load_state)
    monkeypatch.setattr(restore, "locate", lambda folder: (folder, folder))
    monkeypatch.setattr(restore, "make_learner", enough)
    with pytest.raises(_Enough):
        restore.load_model(tmp_path)
    assert seen == [jnp.float32]
