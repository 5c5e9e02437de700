"""Mechanisms, and steps of every task, compile for GPUs that are not here.

    pytest -m gpu_aot -n 0 [-k "text or linear"]

A test takes about half a minute. What compiled before, with the same code, is skipped.
"""

import importlib.util

import ahead_of_time
import pytest

from lra_bench.registry import ATTENTIONS, TASKS

pytestmark = [
    pytest.mark.gpu_aot,
    pytest.mark.skipif(
        importlib.util.find_spec("jax_cuda12_plugin") is None,
        reason="needs the compiler: lra-bench[cuda12]",
    ),
]
# The devices that share a batch: on two, the step's exchanges are compiled too.
GPUS = {"h100": "2", "v100-16gb": "1"}
# It stands for all of them in the steps of tasks.
ATTENTION = "performer-softmax"
# A GPU of this machine must not be touched.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@pytest.fixture(scope="module")
def code(repository):
    return ahead_of_time.checksum(repository, "jax", "jax-cuda12-pjrt", "nvidia-cudnn-cu12")


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("attention", ATTENTIONS.names())
def test_a_mechanism_compiles(attention, gpu, code, request):
    """In each type, forward and backward, bidirectional and, if it can be, causal."""
    wanted = (gpu, "1", "attention", attention)
    with ahead_of_time.outcomes(request, code, ENVIRONMENT, *wanted) as found:
        by_cudnn = {name for name, said in found.items() if said == "compiled, by cuDNN"}
        has_kernel = attention == "softmax-fused" and gpu == "h100"
        assert by_cudnn == {x for x in found if has_kernel and not x.startswith("float32")}
        assert {said for name, said in found.items() if name not in by_cudnn} <= {"compiled"}
        types = 3 if attention == "softmax-fused" else 2
        assert len(found) == 2 * types * (1 + ATTENTIONS.get(attention).supports_causal)


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("preset", ["small", "paper"])
@pytest.mark.parametrize("task", TASKS.names())
def test_the_steps_of_a_task_compile(task, preset, gpu, code, request):
    wanted = (gpu, GPUS[gpu], "task", task, preset, ATTENTION, "train", "eval")
    with ahead_of_time.outcomes(request, code, ENVIRONMENT, *wanted) as found:
        assert found == {"train": "compiled", "eval": "compiled"}
