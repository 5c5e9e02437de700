"""Settings that follow published code in all that moves accuracy, where it is like ours or not.

Tables of runs with these presets have their names as titles. docs/papers.md compares them with the
originals line by line, and says what still differs.
"""

from typing import Any

from lra_bench.configs.base import lra_paper, one_gpu


def nystromformer(config: Any) -> Any:
    """Return a preset `small`, which has Nystromformer's sizes and steps, as its code has the rest.

    Values: github.com/mlpen/Nystromformer@5689313, LRA/code/{lra_config,run_tasks,model}.py and the
    files of the mechanisms there. docs/papers.md compares line by line, and says what differs.
    """
    config.model.update(init="pytorch", activation="gelu-erf", hidden_dropout=0.1)
    config.model.update(norm_epsilon=1e-5, pooling="mean-all", vocab_size=512)
    config.train.update(schedule="onecycle", eval_drop_last=True)
    config.attention = {
        "softmax": {"dropout": 0.1},
        "nystromformer": {"num_landmarks": 128, "conv_kernel": 35},
        "linformer": {
            "num_projected": 256,
            "sharing": "layerwise-by-head",
            "deviation": 0.02,
        },
        "performer-softmax": {"num_features": 256},
        "reformer": {"num_hashes": 2, "fresh_rotations": True},
    }
    return config


def skyformer() -> Any:
    """Return the settings that Skyformer's tasks share, as its code has them.

    Values: github.com/pkuzengqi/Skyformer@1a677cb, src/{config,main}.py and src/models. The model
    is that of Nystromformer's code. docs/papers.md compares line by line, and says what differs.
    """
    config = nystromformer(one_gpu())
    config.train.update(num_steps=50_000, eval_every=500, select_after=10_001, clip_value=1.0)
    config.attention = {
        "softmax": {"dropout": 0.1},
        "skyformer": {"num_landmarks": 128},
        "nystromformer": {"num_landmarks": 128, "conv_kernel": 0},
        "linformer": {
            "num_projected": 128,
            "sharing": "key-value-by-head",
            "deviation": 0.02,
            "learned": False,
        },
        "performer-softmax": {"num_features": 128},
        "reformer": {"num_hashes": 2, "fresh_rotations": True},
        "bigbird": {"block_size": 64, "num_random_blocks": 3},
    }
    return config


def lra() -> Any:
    """Return the settings that the tasks of the Long Range Arena share, as its code has them.

    Values: github.com/google-research/long-range-arena@cd31e5c, lra_benchmarks/models,
    utils/train_utils.py and the train.py of each task. docs/papers.md compares line by line, and
    says what differs. Each task calls `with_lra_attention` at its end.
    """
    config = lra_paper()
    config.model.update(init="lra", hidden_dropout=0.1, projection_bias=False, pooling="cls")
    config.train.resample_every = 0
    return config


def with_lra_attention(config: Any, max_len: int, *, block: int = 50, dropout: float = 0.1) -> Any:
    """Return a config of `lra` with what depends on the others: options, and the last checkpoint.

    Args:
        config: of the task.
        max_len: l, tokens of a sequence, without that of CLS.
        block: tokens of a block of `local` and `sinkhorn`.
        dropout: of the weights of exact attention.
    """
    model, tokens = config.model, max_len + (config.model.pooling == "cls")
    config.train.select_after = config.train.num_steps
    config.attention = {
        "softmax": {"dropout": dropout, "padded_queries": "uniform"},
        # Its kernel epsilon is added to relu(x / d^(1/4)), ours to relu(x).
        "performer-relu": {"projection": "none", "epsilon": 1e-3 * model.head_dim**0.25},
        # The standard deviation of Glorot's distribution.
        "linformer": {
            "num_projected": 16,
            "sharing": "key-value",
            "deviation": (2 / (tokens + 16)) ** 0.5,
        },
        "local": {"block_size": block},
        "sinkhorn": {"block_size": block},
        "sparse": {"pattern": "fixed", "stride": 50, "num_summary": 10},
        "longformer": {"window": 256, "num_global": 0},
        "bigbird": {"block_size": 64, "num_random_blocks": 3},
        "synthesizer": {"kind": "random+vanilla"},
    }
    return config
