"""Every training and evaluation step of preset `paper` compiles for a TPU v5e that is not here.

    pytest -m tpu_aot -n 0 [-k "text and linear"]

A step takes minutes. Those that compiled before, with the same code, are skipped.
"""

import importlib.util

import ahead_of_time
import pytest

from lra_bench.registry import ATTENTIONS, TASKS

pytestmark = [
    pytest.mark.tpu_aot,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None, reason="needs the compiler: lra-bench[tpu]"
    ),
]
CHIPS = "4"  # a host's: the step's exchanges are compiled too
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


@pytest.fixture(scope="module")
def code(repository):
    return ahead_of_time.checksum(repository, "jax", "libtpu")


@pytest.mark.parametrize("step", ["train", "eval"])
@pytest.mark.parametrize("attention", ATTENTIONS.names())
@pytest.mark.parametrize("task", TASKS.names())
def test_it_compiles(task, attention, step, code, request):
    wanted = ("tpu-v5e", CHIPS, "task", task, "paper", attention, step)
    with ahead_of_time.outcomes(request, code, ENVIRONMENT, *wanted) as found:
        said = found[step]
        assert said == "compiled" or (attention in QUADRATIC and said.startswith("out of memory"))
