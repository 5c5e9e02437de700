"""Presets of Pathfinder."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs import published
from lra_bench.configs.base import lra_paper_image, one_gpu, quick, tiny
from lra_bench.tasks.pathfinder import Pathfinder


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, contour_length=6, shrink=2, size=640)
    return config


def mini() -> Any:
    """Train in minutes on two cores: 8 x 8 pixels, contours of 3 paddles, not 14, no distractors.

    With contours of 6 paddles, nothing was learned in the same number of steps.
    """
    config = quick()
    config.data = dict(FULL, contour_length=3, distractors=False, shrink=4, size=40_000)
    config.model.num_layers = 1
    config.train.update(num_steps=3_000, batch_size=64, learning_rate=1e-3, eval_every=500)
    return config


def small() -> Any:
    """Use Nystromformer's sizes and steps under our protocol."""
    config = one_gpu()
    config.data = FULL
    config.train.update(num_steps=62_400, warmup_steps=312, batch_size=256, eval_every=312)
    config.train.eval_batch_size = 256
    return config


def nystromformer() -> Any:
    """Use Nystromformer's setting: LRA/code/lra_config.py, "pathfinder32"; black is padding."""
    config = published.nystromformer(small())
    config.data = dict(FULL, black="padding")
    return config


def skyformer() -> Any:
    """Use Skyformer's setting: src/config.py, "pathfinder"; black is padding."""
    config = published.skyformer()
    config.data = dict(FULL, black="padding")
    config.train.update(batch_size=128, eval_batch_size=128, warmup_steps=312, learning_rate=2e-4)
    return config


def paper() -> Any:
    """Use the LRA paper's setting: image/configs/pathfinder32/transformer_base.py @ 0b1a343.

    The authors replaced it in August 2021 (ee6649e) by the sizes of `lra`.
    """
    config = lra_paper_image()
    config.data = FULL
    config.model.update(emb_dim=128, ffn_dim=128, num_heads=4, head_dim=16, dropout=0.2)
    config.model.positions = "sinusoidal"
    config.train.update(num_steps=62_400, warmup_steps=312, batch_size=512, eval_every=312)
    config.train.update(learning_rate=1e-3, eval_batch_size=512)
    return config


def lra() -> Any:
    """Use the Long Range Arena's code: image/configs/pathfinder32/transformer_base.py.

    Black is padding, but pooling reads it. Other mechanisms have other sizes there: docs/papers.md
    lists them.
    """
    config = published.lra()
    config.data = dict(FULL, black="padding")
    config.model.update(num_layers=4, emb_dim=32, ffn_dim=32, num_heads=4, head_dim=4)
    config.model.update(dropout=0.2, hidden_dropout=0.2, pooling="mean-padded")
    config.train.update(num_steps=62_400, warmup_steps=312, batch_size=512, eval_every=3_120)
    config.train.update(eval_batch_size=512, schedule="cosine", learning_rate=1e-3)
    config.train.update(weight_decay=0.0, eval_drop_last=True)
    return published.with_lra_attention(config, Pathfinder().max_len, block=64)


FULL = asdict(Pathfinder())
PRESETS = {
    preset.__name__: preset for preset in (smoke, mini, small, nystromformer, skyformer, lra, paper)
}
