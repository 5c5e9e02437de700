"""Measure training steps: against PyTorch's, and by part.

    python benchmarks/step.py [SECTION ...] [--attentions all] [--rounds 3] [--out FILE]

Sections: peers, parts; default: both. Preset `small` of ListOps by default: batch 32 (exact
attentions: 8), 2,000 tokens without padding, 2 layers, dropout 0.1, AdamW, float32. Every
measurement has its own process, and they take turns, so that a drift of the machine affects all.
Tables show medians over the rounds. PyTorch needs `pip install 'lra-bench[peers]'`; without it, the
table has only this project's figures. With --out, each measurement is kept as a JSON line, and a
second call adds what is missing.
"""

import argparse
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

from _bench import THREADS, Bench, Call, measure
from _sections import command_line, run_sections, show

from lra_bench.config import make_settings
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.settings import RunSettings

# Exact attentions keep the scores of all pairs for the backward pass, in some of these libraries.
EXACT_BATCH = 8
GEMM = 2_048
# The attentions that PyTorch or performer-pytorch has, or that take a few lines there.
PEERS = (
    "identity",
    "linear",
    "linformer",
    "performer-generalized",
    "performer-relu",
    "performer-softmax",
    "softmax",
    "softmax-chunked",
    "softmax-fused",
)


def settings_of(spec: dict[str, Any]) -> tuple[RunSettings, Any]:
    """Return the settings and the task of a spec."""
    overrides = [f"train.batch_size={spec['batch']}"]
    settings = make_settings(spec["task"], spec["attention"], spec["preset"], 0, overrides)
    return settings, make_task(spec["task"], settings.data)


def own_step(spec: dict[str, Any]) -> Call:
    """Return a training step of this project."""
    import jax

    from lra_bench.training.learner import make_learner

    settings, task = settings_of(spec)
    learner, key = make_learner(task, settings), jax.random.key(0)
    state = jax.jit(learner.init)(key)
    tokens, labels = _batch(task, settings)
    step = jax.jit(learner.train_step, donate_argnums=0).lower(state, tokens, labels, key).compile()

    def run() -> None:
        nonlocal state
        state, loss = step(state, tokens, labels, key)
        loss.block_until_ready()

    return run


def _batch(task: Any, settings: RunSettings) -> tuple[Any, Any]:
    """Return tokens (b l) without padding, and labels (b)."""
    import numpy as np

    rng, size = np.random.default_rng(0), settings.train.batch_size
    shape = (size, *((2,) if task.paired else ()), task.max_len)
    return (
        rng.integers(1, task.vocab_size, shape, np.int32),
        rng.integers(0, task.num_classes, size, np.int32),
    )


def torch_step(spec: dict[str, Any]) -> Call:
    """Return a training step of the equal model in PyTorch."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(THREADS)
    settings, task = settings_of(spec)
    return importlib.import_module("_torch_model").training_step(task, settings, task.max_len)


def gemm(spec: dict[str, Any]) -> Call:
    """Return the product of two square matrices of float32."""
    import jax

    del spec
    a, b = (jax.random.normal(jax.random.key(seed), (GEMM, GEMM)) for seed in (0, 1))
    product = jax.jit(lambda a, b: a @ b).lower(a, b).compile()
    return lambda: product(a, b).block_until_ready()


def part(spec: dict[str, Any]) -> Call:
    """Return the forward and backward pass of all layers of one kind in a step."""
    import jax
    from _step_parts import PARTS, Parts

    settings, task = settings_of(spec)
    every = Parts(task, settings, *_batch(task, settings))
    function, arguments = PARTS[spec["part"]](every)
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


PRODUCT = {"maker": "gemm"}
MAKERS = {"own": own_step, "torch": torch_step, "part": part, "gemm": gemm}


def spec_of(args: argparse.Namespace, maker: str, attention: str, **more: str) -> dict[str, Any]:
    """Return what a measuring process reads from its command line."""
    batch = args.batch or (EXACT_BATCH if ATTENTIONS.get(attention).traits.exact else None)
    usual = make_settings(args.task, attention, args.preset, 0).train.batch_size
    common = {"task": args.task, "preset": args.preset, "attention": attention}
    return {"maker": maker, **common, "batch": min(batch or usual, usual), **more}


def peers(args: argparse.Namespace) -> None:
    """Compare each step with that of the equal model in PyTorch."""
    makers = ("own", "torch") if importlib.util.find_spec("torch") else ("own",)
    pairs = [
        [spec_of(args, maker, name) for maker in makers if maker == "own" or name in PEERS]
        for name in args.attentions
    ]
    medians = iter(args.bench.medians(spec for pair in pairs for spec in pair))
    show([_against(pair[0], *(next(medians) for _ in pair)) for pair in pairs])


def _against(
    spec: dict[str, Any], ours: dict[str, float], peer: dict[str, float] | None = None
) -> dict[str, Any]:
    row = {"attention": spec["attention"], "batch": spec["batch"], **_figures(ours, "")}
    if peer is None:
        return row
    ratios = {"of PyTorch's CPU time": ours["cpu"] / peer["cpu"]}
    ratios |= {"of its wall time": ours["wall"] / peer["wall"]}
    return row | _figures(peer, "PyTorch: ") | ratios


def _figures(result: dict[str, float], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}CPU s": result["cpu"],
        f"{prefix}wall s": result["wall"],
        f"{prefix}peak MiB": result["peak"] / 2**20,
    }


def parts(args: argparse.Namespace) -> None:
    """Measure each part of a step alone, in CPU seconds, and the rate of the step's arithmetic.

    The parts together take more than the step, in which the compiler joins them.
    """
    columns = [_column(args, name) for name in args.attentions]
    show([{"part": row, **{x["name"]: x[row] for x in columns}} for row in list(columns[0])[1:]])


def _column(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the figures of an attention by the names of their rows."""
    from _step_parts import PARTS

    whole = spec_of(args, "own", name)
    alone = [spec_of(args, "part", name, part=part) for part in PARTS]
    product, step, *times = (x["cpu"] for x in args.bench.medians([PRODUCT, whole, *alone]))
    rate, most = flops(whole) / step, 2 * GEMM**3 / product
    return {
        "name": name,
        "batch": whole["batch"],
        **dict(zip(PARTS, times, strict=True)),
        "sum of the parts": sum(times),
        "the step": step,
        "GFLOP a second of the step": rate / 1e9,
        "GFLOP a second of a product of matrices": most / 1e9,
        "the step's share of it": rate / most,
    }


def flops(spec: dict[str, Any]) -> float:
    """Return the floating-point operations of a step; NaN if they are unknown."""
    import jax

    from lra_bench.runtime.flops import count_flops
    from lra_bench.training.learner import make_learner

    settings, task = settings_of(spec)
    learner, key = make_learner(task, settings), jax.random.key(0)
    state = jax.eval_shape(learner.init, key)
    return count_flops(learner.train_step, state, *_batch(task, settings), key) or math.nan


SECTIONS = {"peers": peers, "parts": parts}


def main() -> None:
    """Run the sections on the command line, or all; or measure one spec as a child."""
    parser = command_line(__doc__, SECTIONS)
    parser.add_argument("--attentions", default="all", help="names, separated by commas")
    parser.add_argument("--task", default="listops")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch", type=int, help="examples of a step, at most the preset's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        spec = json.loads(args.child)
        print(json.dumps(measure(MAKERS[spec["maker"]](spec))))
        return
    args.attentions = ATTENTIONS.names() if args.attentions == "all" else args.attentions.split(",")
    args.bench = Bench(__file__, args.rounds, args.out)
    run_sections(SECTIONS, args.sections, args)


if __name__ == "__main__":
    main()
