"""Mechanisms, and steps of every task, compile for GPUs that are not here.

    pytest -m "gpu_aot and not slow" -n 0 [-k "text or linear"]

A test takes about half a minute. What compiled before, with the same code, is not compiled again.
"""

import importlib.util

import compile_ahead
import pytest

from lra_bench.registry import ATTENTIONS

pytestmark = [
    pytest.mark.gpu_aot,
    pytest.mark.skipif(
        importlib.util.find_spec("jax_cuda12_plugin") is None,
        reason="needs the compiler: lra-bench[cuda12]",
    ),
]
COMPILERS = ("jax-cuda12-pjrt", "nvidia-cudnn-cu12")
GPUS = ("h100", "v100-16gb")


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("attention", ATTENTIONS.names())
def test_a_mechanism_compiles(attention, gpu, request):
    """In each type, forward and backward, bidirectional and, if it can be, causal."""
    cudnn = attention == "softmax-fused"  # it takes float16 too, which is no type of the model
    dtypes = ("float32", "bfloat16", *(("float16",) if cudnn else ()))
    cases = compile_ahead.of_attention(attention, dtypes)
    said = compile_ahead.check(gpu, COMPILERS, cases, request.config.cache)
    short = {case for case in cases if cudnn and gpu == "h100" and "float32" not in case}
    assert {case for case in cases if said[case] == "compiled, by cuDNN"} == short


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("case", compile_ahead.of_runs("small") + compile_ahead.of_runs("paper"))
def test_a_step_compiles(case, gpu, request):
    """Of a run, on four GPUs where they divide the batch."""
    compile_ahead.check(gpu, COMPILERS, [case], request.config.cache)
