"""Presets of recall."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import quick, tiny
from lra_bench.tasks.recall import Recall


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, num_pairs=4, num_keys=8, num_values=8, distractors=12, gap=15)
    config.data.update(train_size=512, validation_size=64, test_size=64)
    return config


def mini() -> Any:
    """Train in about half a minute on two cores: 16 pairs, one token each."""
    config = quick()
    config.data = FULL
    config.train.update(num_steps=900, batch_size=128, learning_rate=3e-3, schedule="cosine")
    config.train.update(eval_every=300, eval_batch_size=200)
    return config


FULL = asdict(Recall())
PRESETS = {"smoke": smoke, "mini": mini}
