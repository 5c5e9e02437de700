"""Presets of ListOps."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs import published
from lra_bench.configs.base import lra_paper, one_gpu, quick, tiny
from lra_bench.tasks.listops import ListOps


def smoke() -> Any:
    """Show in seconds that everything runs; almost nothing is learned."""
    config = tiny()
    config.data = dict(FULL, train_size=512, validation_size=64, test_size=64)
    config.data.update(min_length=8, max_length=48)
    return config


def mini() -> Any:
    """Train in minutes on two cores: expressions of 65 to 255 symbols instead of 501 to 1,999."""
    config = quick()
    config.data = dict(FULL, train_size=20_000, validation_size=1_000)
    config.data.update(min_length=64, max_length=256)
    return config


def small() -> Any:
    """Use Nystromformer's sizes and steps under our protocol."""
    config = one_gpu()
    config.data = FULL
    return config


def nystromformer() -> Any:
    """Use Nystromformer's setting: LRA/code/lra_config.py, "listops"; data by datasets/listops.py.

    LRA's tokenizer dropped the brackets when Nystromformer's data were made.
    """
    config = published.nystromformer(small())
    config.data = dict(FULL, brackets="dropped")
    config.model.update(vocab_size=32, padded_length=2_048)
    return config


def skyformer() -> Any:
    """Use Skyformer's setting: src/config.py, "listops"; its tokenizer drops brackets."""
    config = published.skyformer()
    config.data = dict(FULL, brackets="dropped")
    config.model.update(vocab_size=32, padded_length=2_048)
    return config


def paper() -> Any:
    """Use the LRA paper's setting: listops/configs/base_listops_config.py, CLS pooling."""
    config = lra_paper()
    config.data = FULL
    config.model.pooling = "cls"
    return config


def lra() -> Any:
    """Use the setting of the Long Range Arena's code before March 2021: no brackets, 6 layers.

    The paper's figures are of this form. Commit c209b2a brought brackets (`data.brackets=kept`),
    commit 8d3dc39 4 layers and an FFN of 1,024.
    """
    config = published.lra()
    config.data = dict(FULL, brackets="dropped")
    config.train.eval_every = 250
    config = published.with_lra_attention(config, ListOps().max_len)
    config.attention["performer-softmax"] = {"num_features": 2}
    return config


FULL = asdict(ListOps())
PRESETS = {
    preset.__name__: preset for preset in (smoke, mini, small, nystromformer, skyformer, lra, paper)
}
