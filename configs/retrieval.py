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
    config = published.nystromformer(small())
    config.model.padded_length = 4_096
    return config


def skyformer() -> Any:
    """Use Skyformer's setting: src/config.py, "retrieval"; it validates on 4,800 pairs."""
    config = published.skyformer()
    config.data = dict(FULL, validation_size=4_800)
    config.model.padded_length = 4_096
    config.train.update(batch_size=16, eval_batch_size=16, eval_every=1_000)
    config.train.update(warmup_steps=800, learning_rate=2e-4)
    return config


def paper() -> Any:
    """Use the LRA paper's setting: matching/configs/base_match_config.py, CLS pooling."""
    config = lra_paper()
    config.data = FULL
    config.model.update(num_layers=4, emb_dim=128, ffn_dim=512, num_heads=4, head_dim=32)
    config.model.pooling = "cls"
    config.train.update(warmup_steps=8_000, eval_every=100)
    return config


def lra() -> Any:
    """Use the Long Range Arena's code: matching/configs and TransformerDualEncoder.

    It classifies by the first byte of each document, without a token for it.
    """
    config = published.lra()
    config.data = FULL
    config.model.update(num_layers=4, emb_dim=128, ffn_dim=512, num_heads=4, head_dim=32)
    config.model.update(pooling="first", pair_features="vectors", pair_head_layers=2)
    config.train.update(warmup_steps=8_000, eval_every=500, eval_drop_last=True)
    return published.with_lra_attention(config, Retrieval().max_len)


FULL = asdict(Retrieval())
PRESETS = {
    preset.__name__: preset for preset in (smoke, mini, small, nystromformer, skyformer, lra, paper)
}
