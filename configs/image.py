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
    config = published.nystromformer(small())
    config.data = dict(FULL, black="padding")
    return config


def skyformer() -> Any:
    """Use Skyformer's setting: src/config.py, "image"; black is padding."""
    config = published.skyformer()
    config.data = dict(FULL, black="padding")
    config.model.vocab_size = 256
    config.train.update(batch_size=256, eval_batch_size=256, eval_every=50, warmup_steps=175)
    return config


def paper() -> Any:
    """Use the LRA paper's setting: image/configs/cifar10/base_cifar10_config.py, CLS pooling.

    The config of the Transformer itself was published in August 2021 (ee6649e): `lra` has it.
    """
    config = lra_paper_image()
    config.data = FULL
    config.model.update(ffn_dim=64, num_heads=1, head_dim=32, pooling="cls", dropout=0.3)
    config.train.update(num_steps=35_000, warmup_steps=175, batch_size=256, eval_every=175)
    config.train.update(learning_rate=5e-4, eval_batch_size=256)
    return config


def lra() -> Any:
    """Use the Long Range Arena's code: image/configs/cifar10/transformer_base.py; black is padding.

    Other mechanisms have other sizes there: docs/papers.md lists them.
    """
    config = published.lra()
    config.data = dict(FULL, black="padding")
    config.model.update(num_layers=1, emb_dim=128, ffn_dim=128, num_heads=8, head_dim=8)
    config.model.update(positions="learned", dropout=0.3, hidden_dropout=0.3)
    config.train.update(num_steps=35_000, warmup_steps=175, batch_size=256, eval_every=1_750)
    config.train.update(eval_batch_size=256, schedule="cosine", learning_rate=5e-4)
    config.train.update(weight_decay=0.0, eval_drop_last=True)
    return published.with_lra_attention(config, Image().max_len, block=64, dropout=0.2)


FULL = asdict(Image())
PRESETS = {
    preset.__name__: preset for preset in (smoke, mini, small, nystromformer, skyformer, lra, paper)
}
