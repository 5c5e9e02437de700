"""Presets of Protein-concat."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import performer_paper, quick, tiny
from lra_bench.tasks.protein_concat import ProteinConcat


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, max_length=64, train_size=256, validation_size=64, test_size=64)
    config.model.pooling = "none"
    return config


def mini() -> Any:
    """Train in minutes on two cores: 1,024 tokens instead of 8,192."""
    config = quick()
    config.data = dict(FULL, max_length=1_024, validation_size=100, test_size=200)
    config.model.pooling = "none"
    config.train.update(num_steps=1_000, eval_every=250, learning_rate=1e-3, schedule="cosine")
    config.train.update(batch_size=8, eval_batch_size=20)
    return config


def regular() -> Any:
    """Use the model that the Performer paper measures: (8, 6, 2048, 512), Section 4.4."""
    config = performer_paper()
    config.data = FULL
    config.train.update(batch_size=8, eval_batch_size=8)
    return config


FULL = asdict(ProteinConcat())
PRESETS = {preset.__name__: preset for preset in (smoke, mini, regular)}
