"""Presets of Path-X."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs import published
from lra_bench.configs.base import lra_paper_image, one_gpu, tiny
from lra_bench.tasks.pathx import PathX


def smoke() -> Any:
    """Show in seconds that everything runs, on images shrunk to 16 x 16 pixels."""
    config = tiny()
    config.data = dict(FULL, contour_length=6, shrink=8, size=320)
    return config


def small() -> Any:
    """Use Pathfinder's `small`, with batches in parts of 8; Nystromformer lacks this task."""
    config = one_gpu()
    config.data = FULL
    config.train.update(num_steps=62_400, warmup_steps=312, batch_size=256, accumulate=32)
    config.train.update(eval_every=1_000, eval_batch_size=16)
    return config


def paper() -> Any:
    """Use the LRA paper's setting: image/configs/pathfinder128/base_pathfinder128_config.py."""
    config = lra_paper_image()
    config.data = FULL
    config.model.update(ffn_dim=32, num_heads=2, head_dim=8)
    config.train.update(num_steps=500_000, warmup_steps=2_500, batch_size=64, eval_every=2_500)
    config.train.update(learning_rate=1e-3, clip_norm=1.0, eval_batch_size=64)
    return config


def lra() -> Any:
    """Use the Long Range Arena's code: image/configs/pathfinder128; black is padding.

    Pooling reads it.
    """
    config = published.lra()
    config.data = dict(FULL, black="padding")
    config.model.update(num_layers=1, emb_dim=32, ffn_dim=32, num_heads=2, head_dim=8)
    config.model.update(positions="learned", pooling="mean-padded")
    config.train.update(num_steps=500_000, warmup_steps=2_500, batch_size=64, eval_every=25_000)
    config.train.update(eval_batch_size=64, schedule="cosine", learning_rate=1e-3, clip_norm=1.0)
    config.train.update(weight_decay=0.0, eval_drop_last=True)
    return published.with_lra_attention(config, PathX().max_len, block=64)


FULL = asdict(PathX())
PRESETS = {"smoke": smoke, "small": small, "lra": lra, "paper": paper}
