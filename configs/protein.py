"""Presets of Protein."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import performer_paper, quick, tiny
from lra_bench.tasks.protein import Protein


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, max_length=48, train_size=256, validation_size=64, test_size=64)
    config.model.pooling = "none"
    return config


def mini() -> Any:
    """Train in minutes on two cores: the first 255 residues, and a small model."""
    config = quick()
    config.data = dict(FULL, max_length=256, held_out=("Caenorhabditis", "Drosophila"))
    config.data.update(validation_size=500, test_size=1_000)
    config.model.pooling = "none"
    config.train.update(num_steps=1_000, eval_every=250, learning_rate=2e-3, schedule="cosine")
    return config


def small() -> Any:
    """Use a model for one GPU, with the training of the Performer paper."""
    config = performer_paper()
    config.data = FULL
    config.model.update(num_layers=6, emb_dim=256, ffn_dim=1_024, num_heads=8, head_dim=32)
    return config


def regular() -> Any:
    """Use the model that the Performer paper measures: (8, 6, 2048, 512), Section 4.1."""
    config = performer_paper()
    config.data = FULL
    return config


def progen() -> Any:
    """Use the model of ProGen in the Performer paper: (8, 36, 1024, 512), Section 4.4."""
    config = performer_paper()
    config.data = FULL
    config.model.update(num_layers=36, ffn_dim=1_024)
    return config


FULL = asdict(Protein())
PRESETS = {preset.__name__: preset for preset in (smoke, mini, small, regular, progen)}
