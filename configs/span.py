"""Presets of Span."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import quick, tiny
from lra_bench.tasks.span import Span


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, span=17, num_slots=16, length=48)
    config.data.update(train_size=512, validation_size=64, test_size=64)
    return config


def mini() -> Any:
    """Train in half a minute on two cores: windows of up to 16 tokens say nothing."""
    config = quick()
    config.data = dict(FULL, span=17, num_slots=8, length=32)
    config.data.update(train_size=8_000, validation_size=1_000, test_size=1_000)
    config.model.update(num_layers=1, emb_dim=32, ffn_dim=32)
    config.train.update(num_steps=800, batch_size=128, learning_rate=5e-3)
    return config


FULL = asdict(Span())
PRESETS = {"smoke": smoke, "mini": mini}
