"""Settings that the presets of the tasks share."""

from typing import Any

from ml_collections import ConfigDict


def one_gpu() -> Any:
    """Return the sizes, steps and rates of Nystromformer (Xiong et al. 2021) under our protocol.

    Values: github.com/mlpen/Nystromformer@5689313, LRA/code/lra_config.py and run_tasks.py (AdamW
    with epsilon 1e-6, linear warm-up and decay). `nystromformer` follows that code in all else too.
    What differs here, line by line: docs/papers.md.
    """
    return ConfigDict(
        {
            "model": {
                "num_layers": 2,
                "emb_dim": 64,
                "ffn_dim": 128,
                "num_heads": 2,
                "head_dim": 32,
                "positions": "learned",
                "pooling": "mean",
                "dropout": 0.1,
                "dropout_bits": "threefry",
                "dtype": "float32",
            },
            "train": {
                "batch_size": 32,
                "accumulate": 1,
                "num_steps": 5_000,
                "schedule": "linear",
                "learning_rate": 1e-4,
                "warmup_steps": 1_000,
                "weight_decay": 0.0,
                "beta2": 0.999,
                "epsilon": 1e-6,
                "clip_norm": 0.0,
                "log_every": 50,
                "eval_every": 50,
                "eval_batch_size": 32,
                "resample_every": 0,
                "num_devices": 0,
                "sequence_devices": 1,
            },
        }
    )


def quick() -> Any:
    """Return a setting for minutes on two CPU cores: few steps, a high rate, no dropout."""
    config = one_gpu()
    config.model.dropout = 0.0
    config.train.update(learning_rate=2e-3, warmup_steps=100, clip_norm=1.0)
    config.train.update(num_steps=600, log_every=20, eval_every=100, eval_batch_size=100)
    return config


def short(tokens: int) -> Any:
    """Return options of mechanisms for short sequences: blocks, windows, landmarks of few tokens.

    Args:
        tokens: of a block, a window and so on; a quarter of the sequence leaves something to do.
    """
    block = {"block_size": tokens}
    return {
        "abc": {"num_slots": tokens},
        "bigbird": {"block_size": tokens // 2, "num_global_blocks": 1, "num_random_blocks": 1},
        "h-transformer": block,
        "linformer": {"num_projected": tokens},
        "local": block,
        "longformer": {"window": tokens},
        "luna": {"num_packed": tokens},
        "nystromformer": {"num_landmarks": tokens, "conv_kernel": 5},
        "reformer": {"bucket_size": tokens},
        "sinkhorn": block,
        "skyformer": {"num_landmarks": tokens},
    }


def tiny() -> Any:
    """Return a setting for seconds, which shows that everything runs."""
    config = quick()
    config.model.update(num_layers=1, emb_dim=32, ffn_dim=32, head_dim=16)
    config.train.update(num_steps=24, warmup_steps=4, log_every=4, eval_every=8)
    config.train.update(batch_size=16, eval_batch_size=32, resample_every=6)
    return config


def lra_paper() -> Any:
    """Return the settings that the configs of the LRA paper (Tay et al. 2021) share.

    Values: github.com/google-research/long-range-arena, lra_benchmarks/listops/configs and
    utils/train_utils.py: Adam with beta2 0.98, epsilon 1e-9 and decoupled weight decay.
    docs/papers.md, "Accuracy", says what differs from that code.
    """
    config = one_gpu()
    config.model.update(num_layers=6, emb_dim=512, ffn_dim=2_048, num_heads=8, head_dim=64)
    config.model.positions = "sinusoidal"
    config.train.update(learning_rate=0.05, schedule="rsqrt", weight_decay=0.1, eval_every=20)
    config.train.update(beta2=0.98, epsilon=1e-9, resample_every=1_000)
    return config


def lra_paper_image() -> Any:
    """Return the settings that the LRA paper's image configs share: one layer, cosine, 200 epochs.

    Values: github.com/google-research/long-range-arena, lra_benchmarks/image/configs.
    """
    config = lra_paper()
    config.model.update(num_layers=1, emb_dim=32, positions="learned")
    config.train.update(schedule="cosine", weight_decay=0.0)
    return config


def performer_paper() -> Any:
    """Return the "regular" model and the training of the Performer paper: Appendices A.2 and A.3.

    (8, 6, 2048, 512) are heads, layers, hidden numbers and features. Adam has beta2 0.98 and
    epsilon 1e-9, the rate is 1e-3 throughout, weight decay 0.1, dropout 0.1, and the gradient's
    norm is clipped to 0.5. Positions are learned here. The paper does not give the size of batches.
    """
    config = one_gpu()
    config.model.update(num_layers=6, emb_dim=512, ffn_dim=2_048, num_heads=8, head_dim=64)
    config.model.pooling = "none"
    config.train.update(schedule="constant", learning_rate=1e-3, warmup_steps=0, weight_decay=0.1)
    config.train.update(beta2=0.98, epsilon=1e-9, clip_norm=0.5, num_steps=100_000)
    config.train.update(eval_every=1_000, resample_every=1_000)
    return config
