"""Suggest the valid names that a mistyped name may stand for: of settings, attentions, options.

Comparison ignores case, and takes `_`, spaces and hyphens for the same.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

_MOST = 4
# Names that are longer are no slip, and take long to compare.
_LONGEST = 80
# Share of letters in common, in [0, 1], from which on one name may be a slip for another.
_LEAST_ALIKE = 0.5
# What names are called in papers and in other libraries; spaces separate the words.
_ALSO_CALLED = {
    "learning-rate": "lr rate step-size base-lr",
    "weight-decay": "wd decay l2",
    "batch-size": "bs batch train-batch-size train-bs per-device-batch-size",
    "eval-batch-size": "eval-bs test-batch-size valid-batch-size",
    "num-steps": "steps max-steps train-steps num-train-steps iterations epochs num-epochs updates",
    "warmup-steps": "warmup num-warmup-steps warm-up",
    "beta2": "b2 betas adam-beta2",
    "epsilon": "eps adam-epsilon adam-eps kernel-epsilon",
    "clip-norm": "clip grad-clip grad-clip-norm grad-norm max-grad-norm gradient-clip clipping",
    "clip-value": "clip grad-clip-value gradient-clip clipping",
    "init": "initialisation initialization init-scheme",
    "norm-epsilon": "layer-norm-eps layernorm-eps layer-norm-epsilon",
    "accumulate": "grad-accum accum gradient-accumulation gradient-accumulation-steps",
    "schedule": "scheduler lr-schedule lr-scheduler factors",
    "eval-every": "eval-freq eval-frequency eval-interval eval-steps",
    "log-every": "log-freq log-interval log-steps",
    "resample-every": "redraw-every redraw-interval feature-redraw-interval",
    "num-devices": "devices gpus",
    "num-layers": "layers depth n-layers num-blocks blocks",
    "num-heads": "heads n-heads num-attention-heads",
    "emb-dim": "dim d-model model-dim embed-dim embedding-dim hidden-size hidden-dim width",
    "ffn-dim": "mlp-dim d-ff ff-dim intermediate-size hidden-dim",
    "head-dim": "dim qkv-dim dim-head d-head head-size",
    "dropout": "dropout-rate attention-dropout-rate drop hidden-dropout-prob",
    "dtype": "precision float-type",
    "bfloat16": "bf16 half fp16 float16 16",
    "float32": "fp32 f32 float single full 32",
    "mean": "avg average gap",
    "cls": "cls-token first",
    "rsqrt": "noam inverse-sqrt invsqrt",
    "constant": "none flat",
    "pooling": "pool classifier-pool",
    "positions": "pos position pos-emb positional-encoding",
    "max-length": "length max-len seq-len seq-length sequence-length",
    "num-features": "features n-features nb-features num-random-features kernel-features m",
    "num-hashes": "hashes n-hashes rounds",
    "bucket-size": "buckets chunk-len",
    "num-projected": "k proj-dim projected-dim low-rank-features",
    "sharing": "share parameter-sharing",
    "projection": "orthogonal ortho-features",
    "estimator": "kernel",
    "causal": "unidirectional is-causal autoregressive",
    "performer-softmax": "favor favor+ favorplus",
    "performer-relu": "favor favor+ favorplus",
    "softmax": "vanilla transformer full exact dense standard attention mha",
    "softmax-fused": "flash flash-attention cudnn sdpa",
    "softmax-chunked": "memory-efficient rabe",
    "reformer": "lsh",
    "linear": "linear-transformer",
    "identity": "opt no-attention nothing",
    "image": "cifar cifar10 cifar-10",
    "text": "imdb",
    "retrieval": "aan matching",
    "pathx": "path-x pathfinder128 pathfinder-128",
    "pathfinder": "pathfinder32 pathfinder-32",
    "listops": "list-ops",
    "smoke": "tiny test debug quick",
    "mini": "default medium",
    "paper": "full large original base",
}
_CALLED = {name: frozenset(others.split()) for name, others in _ALSO_CALLED.items()}


def suggestions(name: str, valid: Iterable[str]) -> list[str]:
    """Return the valid names that a mistyped name may stand for, the likeliest first; at most 4.

    These are all of the first kind that exists: the same name in another spelling; the same key in
    another group, as `train.learning_rate` for `learning_rate`; names that are also called so, as
    for `lr`; names that begin with it; names of which it is one word; names that differ in a few
    letters.
    """
    asked = _folded(name)
    if not asked or len(asked) > _LONGEST:
        return []
    folded = {each: _folded(each) for each in dict.fromkeys(valid)}
    word = _last(asked)
    kinds = (
        lambda text: text == asked,
        lambda text: _last(text) == word,
        lambda text: word in _CALLED.get(_last(text), ()),
        lambda text: len(asked) > 1 and text.startswith(asked),
        lambda text: len(word) > 1 and _last(text).startswith(word),
        lambda text: word in re.split(r"[-.]", text),
    )
    for fits in kinds:
        if near := [each for each, text in folded.items() if fits(text)]:
            return near[:_MOST]
    return _alike(asked, folded)


def _alike(asked: str, folded: dict[str, str]) -> list[str]:
    """Return the names that differ from `asked` in a few letters, the nearest first."""
    shares = {each: _share(asked, text) for each, text in folded.items()}
    best = max(shares.values(), default=0.0)
    near = [each for each, share in shares.items() if share >= max(_LEAST_ALIKE, best - 0.02)]
    return sorted(near, key=lambda each: -shares[each])[:_MOST]


def _share(asked: str, text: str) -> float:
    """Return the share of letters in common, in [0, 1], with a name or with its first words."""
    ends = [*(match.start() for match in re.finditer("-", text)), len(text)]
    return max(difflib.SequenceMatcher(None, text[:end], asked).ratio() for end in ends)


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return "did you mean 'a' or 'b'? ", with a space at its end; empty if no name is near."""
    near = [repr(each) for each in suggestions(name, valid)]
    return f"did you mean {listed(near, 'or')}? " if near else ""


def listed(words: Sequence[str], last: str) -> str:
    """Return the words as "a, b and c", where `last` is "and"."""
    return f" {last} ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def quoted(name: str) -> str:
    """Return a name in quotes, without control characters, and cut off where it is very long."""
    return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...")


def _folded(name: str) -> str:
    """Return a name in lower case, with hyphens between its words and none around it."""
    return re.sub(r"[\s_-]+", "-", name.strip().lower()).strip("-")


def _last(key: str) -> str:
    """Return a key without the group before it."""
    return key.rpartition(".")[2]
