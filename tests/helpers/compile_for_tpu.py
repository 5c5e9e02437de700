"""Compiles a step of a run for a TPU that isn't there, and says what became of it.

python compile_for_tpu.py TASK ATTENTION train|eval
"""

import sys

import jax

from lra_bench.config import make_settings
from lra_bench.efficiency import targets
from lra_bench.efficiency.programs import Input, Layout, Program
from lra_bench.errors import is_out_of_memory, one_line
from lra_bench.registry import make_task
from lra_bench.training.learner import make_learner

CHIPS = 4  # a host's: the step's exchanges are compiled too


def program(task, attention, step):
    """A step of preset `paper`."""
    settings = make_settings(task, attention, "paper", 0)
    train, subject = settings.train, make_task(task, settings.data)
    learner = make_learner(subject, settings)
    batch = train.batch_size if step == "train" else train.eval_batch_size
    two = (2,) if subject.paired else ()
    tokens = Input((batch, *two, subject.max_len), "uint8")
    labels, weights = Input((batch,), "int32"), Input((batch,), "float32")

    def update(state, tokens, labels):
        return learner.train_step(state, tokens, labels, jax.random.key(0))

    def evaluate(state, tokens, labels, weights):
        return learner.eval_step(state.params, state.sampled, tokens, labels, weights)

    if step == "train":
        return Program(update, learner.init, lambda x: x.params, (tokens, labels), updates=True)
    return Program(evaluate, learner.init, lambda x: x.params, (tokens, labels, weights))


def main(task, attention, step):
    one, layout = program(task, attention, step), Layout(targets.devices("tpu-v5e", CHIPS))
    try:
        layout.trace(one).lower().compile()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print(f"out of memory: {one_line(error)}")
    else:
        print("compiled")


if __name__ == "__main__":
    main(*sys.argv[1:])
