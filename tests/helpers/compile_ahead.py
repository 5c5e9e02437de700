"""Programs compiled for a device that isn't here, and what became of each.

    python compile_ahead.py TARGET < CASES

CASES has one case a line; each gets a line "CASE: compiled", "CASE: compiled, by cuDNN",
"CASE: out of memory: ..." or "CASE: failed: ..." as soon as that is known. A case is one of

    attention NAME float32|bfloat16|float16 forward|backward bidirectional|causal
    step NAME TASK PRESET train|eval
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from lra_bench.config import can_predict_next, predicts_next, presets
from lra_bench.efficiency import gpus
from lra_bench.registry import ATTENTIONS, TASKS

# Long enough for chunks and buckets, and no multiple of them; short enough to compile in seconds.
LENGTH, BATCH = 600, 2
# The most devices that share a training step: its exchanges are compiled too.
MOST = 4
# Weights of all pairs of tokens may be too many for a device.
QUADRATIC = {"softmax", "softmax-fused"}
# An accelerator of this machine must not be touched.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "XLA_FLAGS": gpus.XLA_FLAGS,
    "TPU_LOG_DIR": "disabled",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def of_attention(name, dtypes=("float32", "bfloat16")):
    """Return the cases of a mechanism alone."""
    orders = ["bidirectional", *(["causal"] if ATTENTIONS.get(name).supports_causal else [])]
    return [
        f"attention {name} {dtype} {direction} {order}"
        for dtype in dtypes
        for direction in ("forward", "backward")
        for order in orders
    ]


def of_runs(preset):
    """Return the cases of the steps of each task with each mechanism.

    One mechanism stands for the others, whose cases are also marked slow.
    """
    return [
        pytest.param(
            f"step {name} {task} {preset} {step}",
            marks=() if name == "performer-softmax" else pytest.mark.slow,
        )
        for name in ATTENTIONS.names()
        for task in TASKS.names()
        if preset in presets(task)
        if can_predict_next(name) or not predicts_next(task, preset)
        for step in ("train", "eval")
    ]


def check(target, compilers, cases, cache, seconds=1800):
    """Compile what has not compiled before with this code; fail if a case cannot be compiled.

    Args:
        target: of `lra-bench efficiency`.
        compilers: the distributions of its compiler, whose versions count as code.
        cases: lines, see above.
        cache: pytest's.
        seconds: until the process is given up.

    Returns:
        What became of each case.
    """
    code = _checksum(compilers)
    keys = {case: f"ahead/{target}/{case.replace(' ', '-')}" for case in cases}
    kept = {case: (cache.get(key, None) or {}).get(code) for case, key in keys.items()}
    new = [case for case in cases if kept[case] is None]
    said = outcomes(target, new, seconds) if new else {}
    failed = {case: outcome for case, outcome in said.items() if not _is_fine(case, outcome)}
    for case in said.keys() - failed.keys():
        cache.set(keys[case], {code: said[case]})
    assert not failed
    return kept | said


def _checksum(compilers):
    """Return a checksum of all that an outcome depends on."""
    digest = hashlib.sha256(" ".join(map(version, ("jax", *compilers))).encode())
    root = Path(__file__).resolve().parents[2]
    for folder in ("attentions", "configs", "tasks", "lra_bench"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".py", ".txt"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _is_fine(case, outcome):
    kind, name = case.split()[:2]
    too_large = kind == "step" and name in QUADRATIC and outcome.startswith("out of memory: ")
    return outcome.startswith("compiled") or too_large


def outcomes(target, cases, seconds):
    """Compile the cases in one process; return what became of each, an error if it died."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), target],
        input="\n".join(cases),
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    lines = [line.partition(": ") for line in done.stdout.splitlines()]
    said = {case: outcome for case, _, outcome in lines if case in cases}
    return {case: said.get(case, f"died: {done.stderr[-2_000:]}") for case in cases}


def _main(target):
    from lra_bench.errors import is_out_of_memory, one_line

    for case in sys.stdin.read().splitlines():
        try:
            text = _compile(target, *case.split())
            outcome = "compiled, by cuDNN" if "__cudnn$fmha" in text else "compiled"
        except Exception as error:  # one case says nothing about the next
            kind = "out of memory" if is_out_of_memory(error) else "failed"
            outcome = f"{kind}: {one_line(error)}"
        print(f"{case}: {outcome}", flush=True)


def _compile(target, kind, *words):
    from lra_bench.efficiency import targets
    from lra_bench.efficiency.programs import Layout

    program, most = _attention(*words) if kind == "attention" else _step(*words)
    return Layout(_devices(targets, target, most)).trace(program).lower().compile().as_text()


def _devices(targets, target, most):
    """Return as many devices as the target has, at most so many."""
    from lra_bench.errors import UsageError

    try:
        return targets.devices(target, most)
    except UsageError:
        return targets.devices(target, 1)


def _attention(name, dtype, direction, order):
    """Return the program of a mechanism alone, for one device.

    float16 is no type of the model, but mechanisms may take it.
    """
    from lra_bench.efficiency import plan, programs

    choice = plan.Choice(
        attentions=(name,),
        lengths=(LENGTH,),
        passes=(direction,),
        batches=(BATCH,),
        overrides=("attention.causal=True",) if order == "causal" else (),
    )
    return programs.build(dataclasses.replace(plan.cells(choice)[0], dtype=dtype)), 1


def _step(attention, task, preset, step):
    """Return the program of a step of a run, and how many devices may share it."""
    import jax

    from lra_bench.config import make_settings
    from lra_bench.efficiency.programs import Input, Program
    from lra_bench.registry import make_task
    from lra_bench.training.learner import make_learner

    settings = make_settings(task, attention, preset, 0)
    train, subject = settings.train, make_task(task, settings.data)
    learner = make_learner(subject, settings)
    batch = train.batch_size if step == "train" else train.eval_batch_size
    two = (2,) if subject.paired else ()
    tokens = Input((batch, *two, subject.max_len), "uint8")
    labels, weights = Input((batch,), "int32"), Input((batch,), "float32")
    numbers = Input((batch,), "int32")

    def update(state, tokens, labels):
        return learner.train_step(state, tokens, labels, jax.random.key(0))

    def evaluate(state, *arrays):
        return learner.eval_step(state.params, state.sampled, *arrays)

    most = MOST if batch % MOST == 0 else 1
    if step == "train":
        inputs = (tokens, labels)
        return Program(update, learner.init, lambda x: x.params, inputs, updates=True), most
    inputs = (tokens, labels, weights, numbers)
    return Program(evaluate, learner.init, lambda x: x.params, inputs), most


if __name__ == "__main__":
    _main(*sys.argv[1:])
