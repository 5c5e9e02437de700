"""Presets that follow published code have its parameters, and its logits from the same weights."""

import dataclasses

import jax
import numpy as np
import published_models
import pytest

from lra_bench.config import make_settings, presets
from lra_bench.registry import ATTENTIONS, make_task
from lra_bench.training.learner import count_parameters, make_learner


def dense(inputs, outputs, bias=True):
    return (inputs + bias) * outputs


def layers(count, width, inner, hidden, bias=True):
    """Each has four projections, two norms and an FFN; after the last one there is a norm."""
    projections = 3 * dense(width, inner, bias) + dense(inner, width, bias)
    ffn = dense(width, hidden) + dense(hidden, width)
    return count * (projections + 2 * 2 * width + ffn) + 2 * width


def head(inputs, hidden, classes, second=False):
    last = hidden // 2 if second else hidden
    between = dense(hidden, last) if second else 0
    return dense(inputs, hidden) + between + dense(last, classes)


# Rows of the embedding and of positions; then layers and head of LRA/code/lra_config.py.
SMALL = layers(2, 64, 64, 128)
NYSTROMFORMER = {
    "listops": (32 + 2_048) * 64 + SMALL + head(64, 128, 10),
    "text": (512 + 4_096) * 64 + SMALL + head(64, 128, 2),
    "retrieval": (512 + 4_096) * 64 + SMALL + head(4 * 64, 128, 2),
    "image": (512 + 1_024) * 64 + SMALL + head(64, 128, 10),
    "pathfinder": (512 + 1_024) * 64 + SMALL + head(64, 128, 2),
}
# Skyformer's src/config.py: a vocabulary of 256 for images.
SKYFORMER = {
    **NYSTROMFORMER,
    "image": (256 + 1_024) * 64 + SMALL + head(64, 128, 10),
}
# The Long Range Arena's configs: 14 symbols of ListOps, one for unknown ones and padding; 257
# bytes; 256 grey values. CLS is one vector more, and one position more where they are learned.
LRA = {
    "listops": (16 + 1) * 512 + layers(6, 512, 512, 2_048, False) + head(512, 2_048, 10),
    "text": (257 + 1) * 256 + layers(4, 256, 256, 1_024, False) + head(256, 1_024, 2),
    "retrieval": 257 * 128 + layers(4, 128, 128, 512, False) + head(2 * 128, 512, 2, True),
    "image": (256 + 1 + 1_025) * 128 + layers(1, 128, 64, 128, False) + head(128, 128, 10),
    "pathfinder": 256 * 32 + layers(4, 32, 16, 32, False) + head(32, 32, 2),
    "pathx": (256 + 128**2) * 32 + layers(1, 32, 16, 32, False) + head(32, 32, 2),
}
BASE = {"nystromformer": NYSTROMFORMER, "skyformer": SKYFORMER, "lra": LRA}
# What a mechanism adds to ListOps. Nystromformer: a convolution of 35 tokens for each head; one E
# of 256 rows for each head. Skyformer: its E is no parameter. LRA: an E of 16 rows for each layer.
ADDED = {
    "nystromformer": {
        "linear": 0,
        "performer-softmax": 0,
        "nystromformer": 2 * 2 * 35,
        "linformer": 2 * 256 * 2_048,
        "reformer": 0,
    },
    "skyformer": {
        "skyformer": 0,
        "performer-softmax": 0,
        "nystromformer": 0,
        "linformer": 0,
        "bigbird": 0,
        "reformer": 0,
    },
    "lra": {
        "linear": 0,
        "performer-relu": 0,
        "performer-softmax": 0,
        "linformer": 6 * 16 * 2_001,
        "local": 0,
        "sparse": 0,
        "longformer": 0,
        "bigbird": 0,
    },
}
# What the presets lack, and why. Text of Nystromformer has positions that no text reaches, and
# Reformer a projection of keys that it does not use, in both layers.
LACKING = {
    ("nystromformer", "text", "softmax"): (4_096 - 1_024) * 64,
    ("nystromformer", "listops", "reformer"): 2 * dense(64, 64),
    ("skyformer", "listops", "reformer"): 2 * dense(64, 64),
}
COUNTS = [
    *[(preset, task, "softmax", n) for preset, of in BASE.items() for task, n in of.items()],
    *[
        (preset, "listops", attention, BASE[preset]["listops"] + more)
        for preset, of in ADDED.items()
        for attention, more in of.items()
    ],
]


@pytest.mark.parametrize(("preset", "name", "attention", "expected"), COUNTS)
def test_parameters(preset, name, attention, expected):
    settings = make_settings(name, attention, preset, 0)
    lacking = LACKING.get((preset, name, attention), 0)
    assert count_parameters(make_task(name, settings.data), settings) == expected - lacking


# The same models with short sequences; what they compute does not depend on sizes.
SHORT = {
    "listops": ("data.max_length=60", "data.min_length=20"),
    "text": ("data.max_length=60",),
    "retrieval": ("data.max_length=60",),
    "image": ("data.shrink=4",),
    "pathfinder": ("data.shrink=4",),
    "pathx": ("data.shrink=16",),
}
NARROW = ("model.num_layers=2", "model.emb_dim=24", "model.ffn_dim=20", "model.head_dim=6")


def model_and_logits(preset, name, attention, *overrides, padded):
    """Return the settings, all arrays of the model in float64, an input and our logits.

    They are so large that each part of the model matters.
    """
    settings = make_settings(name, attention, preset, 0, [*SHORT[name], *NARROW, *overrides])
    task = make_task(name, settings.data)
    learner = make_learner(task, settings)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params, sampled = (
        {key: rng.normal(scale=0.3, size=x.shape) + key.endswith("scale") for key, x in of.items()}
        for of in (state.params, state.sampled)
    )
    tokens = rng.integers(1, task.vocab_size, (2, *[2] * task.paired, task.max_len))
    if padded and task.side:
        tokens[:, ::3] = tokens[:, 5:9] = 0
        tokens[:, 0] = 1  # the code of the Long Range Arena takes CLS for padding if this is black
    elif padded:
        tokens[1, ..., 33:] = 0
    single = jax.tree.map(np.float32, (params, sampled))
    logits = jax.jit(lambda p, s: learner.merge(p, s)(tokens))(*single)
    return settings.model, {**params, **sampled}, tokens, logits


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-2


@pytest.mark.parametrize(
    ("preset", "name", "attention"),
    [
        ("nystromformer", "listops", "softmax"),
        ("nystromformer", "listops", "linformer"),
        ("nystromformer", "retrieval", "softmax"),
        ("nystromformer", "image", "softmax"),
        ("nystromformer", "text", "softmax"),
        ("nystromformer", "pathfinder", "softmax"),
        ("skyformer", "text", "softmax"),
        ("skyformer", "listops", "linformer"),
    ],
)
def test_logits_of_nystromformer_and_skyformer(preset, name, attention):
    longer = () if name in ("image", "pathfinder") else ("model.padded_length=64",)
    fewer = ("attention.num_projected=8",) if attention == "linformer" else ()
    model, weights, tokens, ours = model_and_logits(
        preset, name, attention, *longer, *fewer, padded=True
    )
    attends = [published_models.softmax_attention] * 2
    if attention == "linformer":
        first = weights["encoder.blocks.0.attention.attend.key_projection"]
        second = weights.get("encoder.blocks.1.attention.attend.key_projection", first)
        assert (second is first) == (preset == "nystromformer")
        assert len(first) == model.num_heads
        attends = [published_models.linformer_attention(e.swapaxes(1, 2)) for e in (first, second)]
    length = max(tokens.shape[-1], model.padded_length)
    same(ours, published_models.nystromformer(weights, tokens, length=length, attends=attends))


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("listops", "cls"),
        ("text", "cls"),
        ("retrieval", "first"),
        ("image", "cls"),
        ("pathfinder", "mean"),
        ("pathx", "mean"),
    ],
)
def test_logits_of_lra(name, pooling):
    model, weights, tokens, ours = model_and_logits("lra", name, "softmax", padded=True)
    attends = [published_models.flax_attention] * 2
    heads = model.num_heads
    same(ours, published_models.lra(weights, tokens, attends=attends, heads=heads, pooling=pooling))


def lra_linformer(weights):
    return [
        published_models.lra_linformer_attention(
            weights[f"encoder.blocks.{n}.attention.attend.key_projection"].swapaxes(1, 2)
        )
        for n in range(2)
    ]


@pytest.mark.parametrize(
    ("attention", "attends"),
    [
        ("linformer", lra_linformer),
        ("linear", lambda _: [published_models.feature_attention(published_models.elu_plus_1)] * 2),
        (
            "performer-relu",
            lambda _: [published_models.feature_attention(published_models.relu_features)] * 2,
        ),
    ],
)
def test_logits_of_lras_mechanisms_without_padding(attention, attends):
    """They read padding there, and never here."""
    epsilon = {"performer-relu": ("attention.epsilon=0.00156508",)}  # 0.001 * 6^(1/4)
    model, weights, tokens, ours = model_and_logits(
        "lra", "listops", attention, *epsilon.get(attention, ()), padded=False
    )
    heads, attends = model.num_heads, attends(weights)
    same(ours, published_models.lra(weights, tokens, attends=attends, heads=heads, pooling="cls"))


def test_the_kernel_epsilon_of_lras_performer_is_for_its_head_dim():
    options = make_settings("image", "performer-relu", "lra", 0).attention_options
    assert options["epsilon"] == pytest.approx(1e-3 * 8**0.25)


@pytest.mark.parametrize("attention", ["softmax", "linformer"])
def test_dropout_within_attention_is_that_of_the_original(attention):
    """It has a share for exact attention only; others have no matrix of weights."""
    for preset, share in (("nystromformer", 0.1), ("skyformer", 0.1), ("lra", 0.1), ("paper", 0)):
        options = make_settings("listops", attention, preset, 0).attention_options
        assert options.get("dropout", 0) == (share if attention == "softmax" else 0)
    assert make_settings("image", "softmax", "lra", 0).attention_options["dropout"] == 0.2


@pytest.mark.parametrize("preset", ["smoke", "mini", "small", "paper"])
@pytest.mark.parametrize("name", list(LRA))
def test_presets_of_the_protocol_follow_no_code(name, preset):
    if preset not in presets(name):
        pytest.skip(f"{name} has no preset {preset}")
    settings = make_settings(name, "softmax", preset, 0)
    for group in (settings.model, settings.train):
        for field in dataclasses.fields(group):
            if field.default is not dataclasses.MISSING:
                assert getattr(group, field.name) == field.default, field.name
    usual = {"brackets": "kept", "black": "pixel", "validation": "held-out"}
    data = {key: settings.data[key] for key in usual.keys() & settings.data.keys()}
    assert data == {key: usual[key] for key in data}
    assert (name == "retrieval") or data
    assert dict(settings.attention_options) == ATTENTIONS.get("softmax").options()
