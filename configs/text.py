"""Presets of Text."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs import published
from lra_bench.configs.base import lra_paper, one_gpu, quick, tiny
from lra_bench.tasks.text import Text


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, max_length=64, train_size=256, validation_size=64, test_size=64)
    return config


def mini() -> Any:
    """Train in minutes on two cores: the first 256 bytes of a review instead of 4,000."""
    config = quick()
    config.data = dict(FULL, max_length=256, validation_size=1_000, test_size=2_000)
    return config


def small() -> Any:
    """Use Nystromformer's sizes and steps under our protocol, and the paper's 4,000 bytes."""
    config = one_gpu()
    config.data = FULL
    config.train.update(num_steps=20_000, warmup_steps=8_000, eval_every=500)
    return config


def nystromformer() -> Any:
    """Use Nystromformer's setting: LRA/code/lra_config.py, "text"; data by datasets/text.py.

    It reads 1,000 bytes, and validates on the test set.
    """
    config = published.nystromformer(small())
    config.data = dict(FULL, max_length=1_000, validation="paper-compat")
    config.model.padded_length = 1_024
    return config


def skyformer() -> Any:
    """Use Skyformer's setting: src/config.py, "text"; it validates on 6,400 of the test set."""
    config = published.skyformer()
    config.data = dict(FULL, validation="paper-compat", validation_size=6_400)
    config.model.padded_length = 4_096
    config.train.warmup_steps = 80
    return config


def paper() -> Any:
    """Use the LRA paper's setting: text_classification/configs/base_tc_config.py, CLS pooling."""
    config = lra_paper()
    config.data = FULL
    config.model.update(num_layers=4, emb_dim=256, ffn_dim=1_024, num_heads=4, pooling="cls")
    config.train.update(num_steps=20_000, warmup_steps=8_000, eval_every=100)
    return config


def lra() -> Any:
    """Use the Long Range Arena's code: text_classification/configs; 4,000 bytes, as in the paper.

    The code's config has 1,000. It validates on the test set, and tests the last checkpoint.
    """
    config = published.lra()
    config.data = dict(FULL, validation="paper-compat")
    config.model.update(num_layers=4, emb_dim=256, ffn_dim=1_024, num_heads=4)
    config.train.update(num_steps=20_000, warmup_steps=8_000, eval_every=2_000)
    return published.with_lra_attention(config, Text().max_len)


FULL = asdict(Text())
PRESETS = {
    preset.__name__: preset for preset in (smoke, mini, small, nystromformer, skyformer, lra, paper)
}
