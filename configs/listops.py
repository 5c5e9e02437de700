"""ListOps."""

from dataclasses import asdict
from typing import Any

from lra_bench.configs._base import lra_paper, one_gpu, quick, tiny
from lra_bench.tasks.listops import ListOps


def smoke() -> Any:
    """Seconds: shows that everything runs, learns next to nothing."""
    config = tiny()
    config.data = dict(FULL, train_size=512, validation_size=64, test_size=64)
    config.data.update(min_length=8, max_length=48)
    return config


def mini() -> Any:
    """Minutes on two cores: expressions of 65 to 255 symbols instead of 501 to 1,999."""
    config = quick()
    config.data = dict(FULL, train_size=20_000, validation_size=1_000)
    config.data.update(min_length=64, max_length=256)
    return config


def small() -> Any:
    """Nystromformer's setting, as in `one_gpu`."""
    config = one_gpu()
    config.data = FULL
    return config


def paper() -> Any:
    """The LRA paper's: listops/configs/base_listops_config.py, CLS pooling."""
    config = lra_paper()
    config.data = FULL
    config.model.pooling = "cls"
    return config


FULL = asdict(ListOps())
PRESETS = {"smoke": smoke, "mini": mini, "small": small, "paper": paper}
