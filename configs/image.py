"""Presets of Image."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs import published
from lra_bench.configs.base import lra_paper_image, one_gpu, quick, tiny
from lra_bench.tasks.image import Image


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, shrink=4, train_size=256, validation_size=64, test_size=64)
    return config


def mini() -> Any:
    """Train in minutes on two cores: images of 16 x 16 pixels instead of 32 x 32."""
    config = quick()
    config.data = dict(FULL, shrink=2, validation_size=1_000, test_size=2_000)
    return config


def small() -> Any:
    """Use Nystromformer's sizes and steps under our protocol."""
    config = one_gpu()
    config.data = FULL
    config.train.update(num_steps=35_000, warmup_steps=175, batch_size=256, eval_every=175)
    config.train.eval_batch_size = 256
    return config


def nystromformer() -> Any:
    """Use Nystromformer's setting: LRA/code/lra_config.py, "image"; black is padding."""
    config = published.nystromformer()
    config.data = dict(FULL, black="padding")
    config.train.update(num_steps=35_000, warmup_steps=175, batch_size=256, eval_every=175)
    config.train.eval_batch_size = 256
    return config


def paper() -> Any:
    """Use the LRA paper's setting: image/configs/cifar10/base_cifar10_config.py, CLS pooling."""
    config = lra_paper_image()
    config.data = FULL
    config.model.update(ffn_dim=64, num_heads=1, head_dim=32, pooling="cls", dropout=0.3)
    config.train.update(num_steps=35_000, warmup_steps=175, batch_size=256, eval_every=175)
    config.train.update(learning_rate=5e-4, eval_batch_size=256)
    return config


FULL = asdict(Image())
PRESETS = {preset.__name__: preset for preset in (smoke, mini, small, nystromformer, paper)}
