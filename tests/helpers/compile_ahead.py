"""Compiles programs for devices that aren't there, and says what became of each, one a line.

python compile_ahead.py TARGET DEVICES task TASK PRESET ATTENTION train|eval...
python compile_ahead.py TARGET DEVICES attention ATTENTION
"""

import dataclasses
import itertools
import sys

import jax
from efficiency_cases import cell

from lra_bench.config import make_settings
from lra_bench.efficiency import programs, targets
from lra_bench.efficiency.programs import Input, Layout, Program
from lra_bench.errors import is_out_of_memory, one_line
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.training.learner import make_learner

# Not a multiple of what loops take at a time.
LENGTH = 600


def steps(task, preset, attention, *names):
    """The training or the evaluation step of a run."""
    settings = make_settings(task, attention, preset, 0)
    train, subject = settings.train, make_task(task, settings.data)
    learner = make_learner(subject, settings)

    def update(state, tokens, labels):
        return learner.train_step(state, tokens, labels, jax.random.key(0))

    def evaluate(state, tokens, labels, weights):
        return learner.eval_step(state.params, state.sampled, tokens, labels, weights)

    for name in names:
        batch = train.batch_size if name == "train" else train.eval_batch_size
        two = (2,) if subject.paired else ()
        tokens = Input((batch, *two, subject.max_len), "uint8")
        labels, weights = Input((batch,), "int32"), Input((batch,), "float32")
        if name == "train":
            yield name, Program(update, learner.init, lambda x: x.params, (tokens, labels), True)
        else:
            given = (tokens, labels, weights)
            yield name, Program(evaluate, learner.init, lambda x: x.params, given)


def attentions(attention):
    """A mechanism alone in each type, forward and backward, bidirectional and causal.

    float16 is no type of the model, but cuDNN takes it.
    """
    dtypes = ("float32", "bfloat16", *(("float16",) if attention == "softmax-fused" else ()))
    kinds = (False, True) if ATTENTIONS.get(attention).supports_causal else (False,)
    passes = ("forward", "backward")
    for dtype, direction, causal in itertools.product(dtypes, passes, kinds):
        options = ("attention.causal=true",) if causal else ()
        one = cell(attention, LENGTH, direction=direction, overrides=options)
        one = dataclasses.replace(one, dtype=dtype)
        yield f"{dtype} {direction}{' causal' if causal else ''}", programs.build(one)


def outcome(program, layout):
    try:
        text = layout.trace(program).lower().compile().as_text()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return f"out of memory: {one_line(error)}"
    return "compiled, by cuDNN" if "__cudnn$fmha" in text else "compiled"


def main(target, devices, kind, *wanted):
    layout = Layout(targets.devices(target, int(devices)))
    for name, program in {"task": steps, "attention": attentions}[kind](*wanted):
        print(f"{name}: {outcome(program, layout)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
