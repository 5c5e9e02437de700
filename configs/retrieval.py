"""Presets of Retrieval."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs import published
from lra_bench.configs.base import lra_paper, one_gpu, quick, tiny
from lra_bench.tasks.retrieval import Retrieval


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, max_length=64, train_size=256, validation_size=64, test_size=64)
    return config


def mini() -> Any:
    """Train in minutes on two cores: the first 256 bytes of each document instead of 4,000."""
    config = quick()
    config.data = dict(FULL, max_length=256, validation_size=1_000, test_size=2_000)
    return config


def small() -> Any:
    """Use Nystromformer's sizes and steps under our protocol."""
    config = one_gpu()
    config.data = FULL
    config.train.update(num_steps=30_000, warmup_steps=800, eval_every=300)
    return config


def nystromformer() -> Any:
    """Use Nystromformer's setting: LRA/code/lra_config.py, "retrieval"."""
    config = published.nystromformer()
    config.data = FULL
    config.model.padded_length = 4_096
    config.train.update(num_steps=30_000, warmup_steps=800, eval_every=300)
    return config


def paper() -> Any:
    """Use the LRA paper's setting: matching/configs/base_match_config.py, CLS pooling."""
    config = lra_paper()
    config.data = FULL
    config.model.update(num_layers=4, emb_dim=128, ffn_dim=512, num_heads=4, head_dim=32)
    config.model.pooling = "cls"
    config.train.update(warmup_steps=8_000, eval_every=100)
    return config


FULL = asdict(Retrieval())
PRESETS = {preset.__name__: preset for preset in (smoke, mini, small, nystromformer, paper)}
