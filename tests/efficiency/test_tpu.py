"""Every training and evaluation step of preset `paper` compiles for a TPU v5e that is not here.

    pytest -m tpu_aot -n 0 [-k "text and linear"]

A step takes minutes. Those that compiled before, with the same code, are skipped.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from common import HELPERS

from lra_bench.registry import ATTENTIONS, TASKS

pytestmark = [
    pytest.mark.tpu_aot,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None, reason="needs the compiler: lra-bench[tpu]"
    ),
]
SCRIPT = HELPERS / "compile_for_tpu.py"
# Their weights of all pairs of tokens may be too many for a chip.
QUADRATIC = {"softmax", "softmax-fused"}
# A TPU of this machine must not be touched.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_LOG_DIR": "disabled",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
SECONDS = 1800


@pytest.fixture(scope="module")
def code(repository):
    """Return a checksum of all that the outcome depends on."""
    digest = hashlib.sha256(f"{version('jax')} {version('libtpu')}".encode())
    for folder in ("attentions", "configs", "tasks", "lra_bench"):
        for file in sorted((repository / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("step", ["train", "eval"])
@pytest.mark.parametrize("attention", ATTENTIONS.names())
@pytest.mark.parametrize("task", TASKS.names())
def test_it_compiles(task, attention, step, code, request):
    key = f"tpu_aot/{task}-{attention}-{step}"
    if request.config.cache.get(key, None) == code:
        pytest.skip("compiled before, with this code")
    command = [sys.executable, str(SCRIPT), task, attention, step]
    env = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert said == "compiled" or (attention in QUADRATIC and said.startswith("out of memory"))
    request.config.cache.set(key, code)
