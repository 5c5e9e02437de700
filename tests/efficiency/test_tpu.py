"""Every mechanism, and every step of the presets, compiles for a TPU v5e that is not here.

    pytest -m "tpu_aot and not slow" -n 0 [-k "text and paper"]

What compiled before, with the same code, is skipped.
"""

import importlib.util

import compile_ahead
import pytest

from lra_bench.efficiency import records
from lra_bench.registry import ATTENTIONS

pytestmark = [
    pytest.mark.tpu_aot,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None, reason="needs the compiler: lra-bench[tpu]"
    ),
]
TARGET, COMPILERS = "tpu-v5e", ("libtpu",)


def test_the_time_is_estimated(cli, tmp_path):
    """Two lengths of a loop over chunks: twice as long takes about twice as long."""
    arguments = ("--attentions", "linear", "--pass", "forward", "--lengths", "2048,4096")
    status, out, err = cli("efficiency", *arguments, "--target", TARGET, "--out", tmp_path)
    assert status == 0, err
    assert "by the compiler's estimate" in out
    lines = records.read(tmp_path / records.FILE)
    assert not any(line.timing for line in lines)
    first, second = [x.estimate.seconds for x in lines if x.cell.attention == "linear"]
    assert 1.5 < second / first < 3


@pytest.mark.parametrize("attention", ATTENTIONS.names())
def test_a_mechanism_compiles(attention, request):
    """In both types, forward and backward, bidirectional and causal."""
    cases = compile_ahead.of_attention(attention)
    compile_ahead.check(TARGET, COMPILERS, cases, request.config.cache)


@pytest.mark.parametrize("case", compile_ahead.of_runs("paper") + compile_ahead.of_runs("small"))
def test_a_step_compiles(case, request):
    """Of a run, on a host's four chips where they divide the batch."""
    compile_ahead.check(TARGET, COMPILERS, [case], request.config.cache)
