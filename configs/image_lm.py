"""Presets of Image-LM."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs.base import performer_paper, quick, tiny
from lra_bench.tasks.image_lm import ImageLM


def smoke() -> Any:
    """Show in seconds that everything runs, on 8 x 8 grey pixels; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, colour="grey", shrink=4)
    config.data.update(train_size=256, validation_size=64, test_size=64)
    config.model.pooling = "none"
    return config


def mini() -> Any:
    """Train in minutes on two cores: 16 x 16 grey pixels, and a small model."""
    config = quick()
    config.data = dict(FULL, colour="grey", shrink=2, validation_size=500, test_size=1_000)
    config.model.pooling = "none"
    config.train.update(num_steps=2_000, eval_every=500, learning_rate=1e-3, schedule="cosine")
    return config


def small() -> Any:
    """Use a model for one GPU, grey values, and the training of the Performer paper."""
    config = performer_paper()
    config.data = dict(FULL, colour="grey")
    config.model.update(emb_dim=256, ffn_dim=1_024, head_dim=32)
    return config


def regular() -> Any:
    """Use the model that the Performer paper measures, (8, 6, 2048, 512), on CIFAR-10 in colour."""
    config = performer_paper()
    config.data = FULL
    return config


def imagenet64() -> Any:
    """Use the Performer paper's setting of ImageNet64: 6 layers, 12,288 values; Fig. 7, left.

    Its other model has 12 layers. The batch is our choice, as that of the paper is not published.
    The images are probably another down-sampling than the paper's, see `ImageLM`.
    """
    config = performer_paper()
    config.data = dict(FULL, dataset="imagenet64")
    config.train.update(batch_size=8, eval_batch_size=8)
    return config


FULL = asdict(ImageLM())
PRESETS = {preset.__name__: preset for preset in (smoke, mini, small, regular, imagenet64)}
