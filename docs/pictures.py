"""Draw the pictures of docs/pictures: which tokens mechanisms read, and a sweep on a terminal.

    python docs/pictures.py

The other is made by a command: pathfinder.png by `lra-bench data show pathfinder --preset smoke
--set data.contour_length=14 --set data.resolution=32`, of which the upper rows are kept.
"""

import io
import re
import tempfile
import time
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from matplotlib.figure import Figure
from rich.console import Console
from rich.terminal_theme import MONOKAI

from lra_bench.analysis.matrix import Call, one_hot_matrix
from lra_bench.contracts import Dims
from lra_bench.display.progress import Display
from lra_bench.model.mechanism import build_attention
from lra_bench.records import metrics
from lra_bench.sweep import plan
from lra_bench.sweep.estimate import Estimate
from lra_bench.sweep.run_state import RunState
from lra_bench.sweep.view import View

FOLDER = Path(__file__).parent / "pictures"
DIMS = Dims(num_heads=1, head_dim=16, max_len=64)
# One of each kind, with blocks small enough to be seen in 64 tokens.
MECHANISMS = {
    "softmax": {},
    "local": {"block_size": 8},
    "sparse": {"stride": 8, "num_summary": 1},
    "bigbird": {"block_size": 4, "num_random_blocks": 2},
    "reformer": {"bucket_size": 8, "num_hashes": 2},
    "sinkhorn": {"block_size": 8},
    "performer-softmax": {},
    "linear": {},
    "linformer": {"num_projected": 16},
    "nystromformer": {"num_landmarks": 8, "conv_kernel": 0},
    "h-transformer": {"block_size": 8},
    "identity": {},
}


def mechanisms() -> None:
    """Draw the weights with which each token reads each token, for one random input."""
    keys = jax.random.split(jax.random.key(0), 3)
    shape = (1, DIMS.max_len, DIMS.num_heads, DIMS.head_dim)
    q, k, v = (0.8 * jax.random.normal(key, shape) for key in keys)
    call = Call(q, k, v, jnp.ones(shape[:2], bool))
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    for axes, (name, options) in zip(figure.subplots(3, 4).flat, MECHANISMS.items(), strict=True):
        axes.imshow(_weights(name, options, call), cmap="magma", vmin=0, vmax=0.08)
        axes.set_title(name)
        axes.set_xticks([0, 63], ["1", "64"])
        axes.set_yticks([0, 63], ["1", "64"])
    figure.supxlabel("token that is read")
    figure.supylabel("token that reads")
    figure.savefig(FOLDER / "mechanisms.png", dpi=110)


def _weights(name: str, options: dict[str, int], call: Call) -> Float[np.ndarray, "l l"]:
    attend = build_attention(name, DIMS, options, nnx.Rngs(0))
    return np.asarray(one_hot_matrix(attend, call)[0, 0])


def sweep() -> None:
    """Draw what a terminal shows in the middle of a sweep."""
    choice = plan.Choice(
        ("listops", "pathfinder"), ("softmax", "performer-softmax"), (0, 1), "mini"
    )
    jobs = plan.jobs(choice)
    states = {job.name: RunState("ok" if job.seed == 0 else "waiting") for job in jobs}
    running = [job for job in jobs if job.seed == 1][:2]
    with tempfile.TemporaryDirectory() as folder:
        estimates = {job.kind: Estimate(seconds=400.0) for job in jobs}
        view = View(Display(), Path(folder), jobs, states, estimates, capacity=2)
        for job in running:
            view.started(job)
            (Path(folder) / job.name).mkdir()
            line = metrics.MetricsLine(350, "train", loss=1.5, accuracy=0.3, seconds=200.0)
            (Path(folder) / job.name / metrics.FILE).write_text(line.as_text())
        four_minutes_later = time.monotonic() + 240
        with mock.patch("time.monotonic", return_value=four_minutes_later):
            view.tick(running, jobs[-2:])
            console = Console(record=True, width=70, file=io.StringIO())
            console.print(view.render())
    svg = console.export_svg(title="lra-bench sweep", theme=MONOKAI)
    # Without the fonts, which come from another server.
    (FOLDER / "sweep.svg").write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    mechanisms()
    sweep()
