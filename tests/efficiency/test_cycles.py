"""The estimated time of a call, from the text of a program that was compiled for a TPU."""

import pytest
from common import HELPERS

from lra_bench.efficiency.cycles import CLOCKS, NEGLIGIBLE, Clock, estimate
from lra_bench.efficiency.targets import TOPOLOGIES

# One byte of memory takes as long as one cycle.
CLOCK = Clock(hertz=1e9, bytes_per_second=1e9)
# A scan of 3 turns around a scan of 5, as libtpu 0.0.42 prints it, without most of its notes.
NESTED = (HELPERS / "compiled_for_tpu.txt").read_text()
WORK = '{"window_config":{"estimated_cycles":"1000"}}'
OP = f"f32[8]{{0:T(128)}} add(%x, %x), backend_config={WORK}"


def program(*lines, others=""):
    """Return the text of a program that has these lines and other computations."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"HloModule m\n\n{others}\n\nENTRY %main (x: f32[8]) -> f32[8] {{\n{body}\n}}\n"


def loop(condition, step, start="constant(0)", note=""):
    """Return the text of a loop of 1,000 cycles a turn."""
    pair = "(s32[]{:T(128)}, /*index=1*/s32[])"
    parts = f"""\
%body (p: (s32[], s32[])) -> (s32[], s32[]) {{
  %p = {pair} parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %n = s32[] get-tuple-element(%p), index=1
  %two = s32[] constant(2)
  %work = {OP}
  %next = s32[] {step}
  ROOT %out = {pair} tuple(%next, %n)
}}

%condition (p: (s32[], s32[])) -> pred[] {{
  %p = {pair} parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %n = s32[] get-tuple-element(%p), index=1
  %end = s32[] constant(10)
  ROOT %less = pred[] compare({condition}
}}"""
    lines = (
        "%x = f32[8] parameter(0)",
        f"%start = s32[] {start}",
        "%end = s32[] constant(6)",
        f"%tuple = {pair} tuple(%start, %end)",
        f"ROOT %loop = {pair} while(%tuple), condition=%condition, body=%body{note}",
    )
    return program(*lines, others=parts)


def cycles(text):
    return estimate(text, CLOCK).cycles


def test_a_loop_counts_as_often_as_it_runs():
    found = estimate(NESTED, Clock(1.5e9, 819e9))
    assert found.cycles == 3 * (5 * (10_388 + 80) + 4_140)
    assert found.seconds == found.cycles / 1.5e9
    assert (found.without, found.hertz) == (0, 1.5e9)


@pytest.mark.parametrize(
    ("condition", "step", "start", "turns"),
    [
        ("%i, %end), direction=LT", "add(%i, %two)", "constant(0)", 5),
        ("%i, %end), direction=LT", "add(%two, %i)", "constant(1)", 5),
        ("%i, %end), direction=LE", "add(%i, %two)", "constant(0)", 6),
        ("%i, %end), direction=GT", "subtract(%i, %two)", "constant(15)", 3),
        ("%i, %end), direction=GE", "subtract(%i, %two)", "constant(16)", 4),
        ("%i, %n), direction=LT", "add(%i, %two)", "constant(0)", 3),
    ],
)
def test_turns_are_told_by_counter_and_end(condition, step, start, turns):
    assert cycles(loop(condition, step, start)) == 1_000 * turns


@pytest.mark.parametrize(
    ("condition", "step"),
    [
        ("%i, %end), direction=LT", "multiply(%i, %two)"),
        ("%i, %end), direction=LT", "add(%n, %two)"),
        ("%i, %end), direction=NE", "add(%i, %two)"),
        ("%end, %end), direction=LT", "add(%i, %two)"),
    ],
)
def test_a_loop_of_unknown_length_has_no_estimate(condition, step):
    found = estimate(loop(condition, step), CLOCK)
    assert (found.cycles, found.seconds) == (None, None)
    assert found.without == 1


def test_the_compilers_note_of_the_turns_is_believed():
    note = ', backend_config={"known_trip_count":{"n":"7"}}'
    assert cycles(loop("%i, %end), direction=NE", "multiply(%i, %two)", note=note)) == 7_000


def test_of_a_conditional_the_longest_branch_counts():
    branches = f"""\
%short (x: f32[8]) -> f32[8] {{
  %x = f32[8] parameter(0)
  ROOT %a = {OP}
}}

%long (x: f32[8]) -> f32[8] {{
  %x = f32[8] parameter(0)
  %a = {OP}
  ROOT %b = {OP}
}}"""
    lines = ("%x = f32[8] parameter(0)", "%k = s32[] constant(0)")
    call = "ROOT %c = f32[8] conditional(%k, %x, %x)"
    by_index = f"{call}, branch_computations={{%short, %long}}"
    by_truth = f"{call}, true_computation=%long, false_computation=%short"
    for line in (by_index, by_truth):
        assert cycles(program(*lines, line, others=branches)) == 2_000
    called = "ROOT %c = f32[8] call(%x), to_apply=%long"
    assert cycles(program(*lines, called, others=branches)) == 2_000
    started = (
        "%s = ((f32[8]), f32[8], u32[]) async-start(%x), calls=%long",
        "ROOT %d = f32[8] async-done(%s), calls=%long",
    )
    assert cycles(program(*lines, *started, others=branches)) == 2_000


def test_a_branch_without_an_estimate_is_not_forgotten():
    branches = f"""\
%short (x: f32[8]) -> f32[8] {{
  %x = f32[8] parameter(0)
  ROOT %a = f32[8] sort(%x), dimensions={{0}}
}}

%long (x: f32[8]) -> f32[8] {{
  %x = f32[8] parameter(0)
  ROOT %a = {OP}
}}"""
    lines = ("%x = f32[8] parameter(0)", "%k = s32[] constant(0)")
    line = "ROOT %c = f32[8] conditional(%k, %x, %x), branch_computations={%short, %long}"
    assert cycles(program(*lines, line, others=branches)) is None


def test_a_fusion_counts_by_its_own_estimate():
    fused = f"""\
%fused (x: f32[8]) -> f32[8] {{
  %x = f32[8] parameter(0)
  ROOT %a = {OP}
}}"""
    line = "ROOT %f = f32[8] fusion(%x), kind=kLoop, calls=%fused, backend_config="
    lines = ("%x = f32[8] parameter(0)", line + WORK.replace("1000", "700"))
    assert cycles(program(*lines, others=fused)) == 700


@pytest.mark.parametrize(
    "line",
    [
        "%free = f32[8] bitcast(%x)",
        "%free = (f32[8]{0:T(128)S(1)}, f32[8], u32[]{:S(2)}) copy-start(%x)",
        "%free = f32[] add(%y, %y)",
        '%free = f32[9999999]{0} custom-call(), custom_call_target="AllocateBuffer"',
    ],
)
def test_what_makes_no_work_needs_no_estimate(line):
    found = estimate(program("%x = f32[8] parameter(0)", line, f"ROOT %a = {OP}"), CLOCK)
    assert (found.cycles, found.without) == (1_000, 0)


@pytest.mark.parametrize(
    "line",
    [
        "%m = f32[2]{0} sort(%x), dimensions={0}",
        '%m = f32[2]{0} custom-call(%x), custom_call_target="kernel"',
        "%m = of a form that nobody has seen",
    ],
)
def test_what_may_take_any_time_leaves_the_estimate_out(line):
    found = estimate(program("%x = f32[8] parameter(0)", line, f"ROOT %a = {OP}"), CLOCK)
    assert (found.cycles, found.seconds, found.without) == (None, None, 1)


@pytest.mark.parametrize(
    "unknown", ["", ', backend_config={"window_config":{"estimated_cycles":"9223372036854775808"}}']
)
def test_bytes_tell_whether_a_missing_estimate_matters(unknown):
    """Operand and result, at the speed of the main memory: here a byte takes a cycle."""
    most = int(NEGLIGIBLE * 1_000)
    for size, known in ((most - 32, 1_000), (most - 31, None)):
        line = f"%m = pred[{size}] fusion(%x), kind=kCustom, calls=%f{unknown}"
        found = estimate(program("%x = f32[8] parameter(0)", line, f"ROOT %a = {OP}"), CLOCK)
        assert (found.cycles, found.without) == (known, 1)


def test_slices_touch_only_their_own_part():
    lines = (
        "%x = f32[9999] parameter(0)",
        "%k = s32[] constant(3)",
        "%part = f32[2] dynamic-slice(%x, %k), dynamic_slice_sizes={2}",
        "%whole = f32[9999] dynamic-update-slice(%x, %part, %k)",
        f"ROOT %a = {OP}",
    )
    found = estimate(program(*lines), CLOCK)
    assert (found.cycles, found.without) == (1_000, 2)
    assert cycles(program(*lines[:3], "%m = f32[9999] negate(%x)", lines[4])) is None


def test_a_program_without_any_estimate_has_none():
    assert cycles(program("ROOT %x = f32[8] parameter(0)")) is None


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no entry computation"):
        estimate("nothing", CLOCK)


def test_every_tpu_has_a_clock():
    assert CLOCKS.keys() == TOPOLOGIES.keys()
