"""Kernels are counted in the text of a program that XLA compiled for a GPU."""

import pytest

from lra_bench.efficiency.kernels import count_kernels

# Shortened from what XLA prints; a fused computation is no kernel of its own.
PROGRAM = """HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%fused_add (param_0: f32[8]) -> f32[8] {
  %param_0 = f32[8]{0} parameter(0)
  %multiply.1 = f32[8]{0} multiply(%param_0, %param_0)
  ROOT %add.1 = f32[8]{0} add(%multiply.1, %param_0)
}

%body (arg: (s32[], f32[8])) -> (s32[], f32[8]) {
  %arg = (s32[], f32[8]{0}) parameter(0)
  %x = f32[8]{0} get-tuple-element(%arg), index=1
  %gemm = (f32[8]{0}, s8[4194304]{0}) custom-call(%x, %x), custom_call_target="__cublas$lt$matmul"
  %y = f32[8]{0} get-tuple-element(%gemm), index=0
  %loop_fusion = f32[8]{0} fusion(%y), kind=kLoop, calls=%fused_add
  ROOT %tuple = (s32[], f32[8]{0}) tuple(%i, %loop_fusion)
}

%condition (arg: (s32[], f32[8])) -> pred[] {
  %arg.2 = (s32[], f32[8]{0}) parameter(0)
  ROOT %compare_fusion = pred[] fusion(%arg.2), kind=kLoop, calls=%fused_add
}

%command_buffer (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %a = f32[8]{0} fusion(%p), kind=kLoop, calls=%fused_add
  ROOT %b = f32[8]{0} copy(%a)
}

%few (p: f32[8]) -> f32[8] {
  ROOT %p.1 = f32[8]{0} parameter(0)
}

ENTRY %main.1 (x.1: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0} parameter(0), metadata={op_name="x"}
  %constant_0 = s32[] constant(0)
  %tuple.1 = (s32[], /*index=1*/f32[8]{0}) tuple(%constant_0, %x.1)
  %while = (s32[], f32[8]{0}) while(%tuple.1), condition=%condition, body=%body{TURNS}
  %z = f32[8]{0} get-tuple-element(%while), index=1
  %call = f32[8]{0} call(%z), to_apply=%command_buffer
  %choice = f32[8]{0} conditional(%i, %call, %call), branch_computations={%few, %command_buffer}
  %all-reduce-start = f32[8]{0} all-reduce-start(%choice), to_apply=%sum
  %all-reduce-done = f32[8]{0} all-reduce-done(%all-reduce-start)
  ROOT %input_fusion = f32[8]{0} fusion(%all-reduce-done), kind=kInput, calls=%fused_add
}
"""


@pytest.mark.parametrize(
    ("turns", "kernels"),
    [
        (', backend_config={"known_trip_count":{"n":"5"},"dynamic":false}', 5 * 2 + 2 + 2 + 1 + 1),
        ("", None),
    ],
)
def test_loops_count_as_often_as_they_run(turns, kernels):
    assert count_kernels(PROGRAM.replace("{TURNS}", turns)) == kernels
