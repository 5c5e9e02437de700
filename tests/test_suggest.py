"""Which names are suggested for a mistyped one."""

import pytest

from lra_bench.errors import unknown
from lra_bench.suggest import suggestions

ATTENTIONS = [
    "identity", "linear", "linformer", "performer-generalized", "performer-relu",
    "performer-softmax", "reformer", "softmax", "softmax-chunked", "softmax-fused",
]  # fmt: skip
PERFORMERS = ["performer-generalized", "performer-relu", "performer-softmax"]
KEYS = [
    "data.max_length", "data.seed", "model.dropout", "model.emb_dim", "model.head_dim",
    "model.num_heads", "model.num_layers", "train.batch_size", "train.eval_batch_size",
    "train.eval_every", "train.learning_rate", "train.num_steps", "train.weight_decay",
    "attention.num_features",
]  # fmt: skip
OTHERS = {
    "tasks": ["image", "listops", "pathfinder", "pathx", "retrieval", "text"],
    "presets": ["smoke", "mini", "small", "paper"],
    "options": ["--data-dir", "--out", "--seed", "--seeds"],
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("performer", PERFORMERS),
        ("Performer", PERFORMERS),
        ("perfomer", PERFORMERS),
        ("PERFORMER_SOFTMAX", ["performer-softmax"]),
        ("performer softmax", ["performer-softmax"]),
        ("performer-sofmax", ["performer-softmax"]),
        ("relu", ["performer-relu"]),
        ("lin", ["linear", "linformer"]),
        ("Linformer ", ["linformer"]),
        ("flash", ["softmax-fused"]),
        ("favor+", ["performer-relu", "performer-softmax"]),
        ("bigbird-of-prey", []),
        ("x", []),
        ("", []),
        ("s" * 10_000, []),
    ],
)
def test_suggested_attentions(name, expected):
    assert suggestions(name, ATTENTIONS) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train.lr", ["train.learning_rate"]),
        ("lr", ["train.learning_rate"]),
        ("LR", ["train.learning_rate"]),
        ("learning_rate", ["train.learning_rate"]),
        ("learning-rate", ["train.learning_rate"]),
        ("train.learningrate", ["train.learning_rate"]),
        ("Train.Learning_Rate", ["train.learning_rate"]),
        ("train.dropout", ["model.dropout"]),
        ("trian.num_steps", ["train.num_steps"]),
        ("train.num_step", ["train.num_steps"]),
        ("epochs", ["train.num_steps"]),
        ("bs", ["train.batch_size"]),
        ("wd", ["train.weight_decay"]),
        ("train.layers", ["model.num_layers"]),
        ("heads", ["model.num_heads"]),
        ("dim", ["model.emb_dim", "model.head_dim"]),
        ("max_len", ["data.max_length"]),
        ("num_feature", ["attention.num_features"]),
    ],
)
def test_suggested_keys(name, expected):
    assert suggestions(name, KEYS) == expected


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("tasks", "cifar10", ["image"]),
        ("tasks", "path-x", ["pathx"]),
        ("tasks", "path", ["pathfinder", "pathx"]),
        ("tasks", "ListOps", ["listops"]),
        ("presets", "full", ["paper"]),
        ("presets", "tiny", ["smoke"]),
        ("presets", "samll", ["small"]),
        ("options", "--seeed", ["--seed"]),
        ("options", "--datadir", ["--data-dir"]),
        ("options", "--data_dir", ["--data-dir"]),
    ],
)
def test_suggested_elsewhere(kind, name, expected):
    assert suggestions(name, OTHERS[kind])[:1] == expected[:1]
    assert set(expected) <= set(suggestions(name, OTHERS[kind]))


def test_an_unknown_name_is_shown_harmless():
    message = str(unknown("attention", "\x1b[31mred\nline", ATTENTIONS))
    assert message.isprintable()
    assert "valid: identity, linear" in message
    assert len(str(unknown("task", "a" * 10**6, []))) < 200


def test_the_suggestions_read_as_a_sentence():
    message = str(unknown("attention", "performer", ATTENTIONS))
    near = "'performer-generalized', 'performer-relu' or 'performer-softmax'"
    assert f"unknown attention 'performer'; did you mean {near}? valid: " in message
