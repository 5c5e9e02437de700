"""Presets of MQAR."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import quick, short, tiny
from lra_bench.tasks.mqar import Mqar


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, num_pairs=4, num_queries=4, num_keys=16, num_values=16, gap=8)
    config.data.update(train_size=512, validation_size=64, test_size=64)
    config.model.pooling = "none"
    return config


def mini() -> Any:
    """Train in a minute on two cores: 4 pairs, 16 tokens.

    Softmax learned it in 400 steps; 8 pairs of 16 keys and values it did not learn in 2,000.
    """
    config = quick()
    config.data = dict(FULL, num_pairs=4, num_queries=4, num_keys=8, num_values=8)
    config.model.pooling = "none"
    config.train.update(num_steps=1_000, batch_size=128, learning_rate=3e-3, schedule="cosine")
    config.train.update(eval_every=200, eval_batch_size=200)
    config.attention = short(4)
    return config


FULL = asdict(Mqar())
PRESETS = {"smoke": smoke, "mini": mini}
