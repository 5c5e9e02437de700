"""Presets of Text-LM."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import performer_paper, quick, tiny
from lra_bench.tasks.text_lm import TextLM


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, max_length=64, train_size=256, validation_size=64, test_size=64)
    config.model.pooling = "none"
    return config


def mini() -> Any:
    """Train in minutes on two cores: 256 bytes instead of 1,024, and a small model."""
    config = quick()
    config.data = dict(FULL, max_length=256, validation_size=500, test_size=1_000)
    config.model.pooling = "none"
    config.train.update(num_steps=2_000, eval_every=500, learning_rate=1e-3, schedule="cosine")
    return config


def small() -> Any:
    """Use a model for one GPU, with the training of the Performer paper."""
    config = performer_paper()
    config.data = FULL
    config.model.update(emb_dim=256, ffn_dim=1_024, head_dim=32)
    return config


def regular() -> Any:
    """Use the model that the Performer paper measures: (8, 6, 2048, 512), Section 4.1."""
    config = performer_paper()
    config.data = FULL
    return config


FULL = asdict(TextLM())
PRESETS = {preset.__name__: preset for preset in (smoke, mini, small, regular)}
