"""Settings that follow published code in all that moves accuracy, where it is like ours or not.

Tables of runs with these presets have their names as titles. docs/papers.md compares them with the
originals line by line, and says what still differs.
"""

from typing import Any

from lra_bench.configs.base import one_gpu


def nystromformer() -> Any:
    """Return the settings that Nystromformer's tasks share, as its code has them.

    Values: github.com/mlpen/Nystromformer@5689313, LRA/code/{lra_config,run_tasks,model}.py and the
    files of the mechanisms there. docs/papers.md compares line by line, and says what differs.
    """
    config = one_gpu()
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
