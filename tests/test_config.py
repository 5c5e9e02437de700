"""Settings: presets, overrides, and that every key does something."""

import dataclasses
import hashlib
import json
import re
import sys
from typing import Any

import jax
import numpy as np
import pytest
from common import refused
from stores import prepared

from lra_bench.config import make_settings, presets
from lra_bench.configs import listops
from lra_bench.contracts import TokenTask
from lra_bench.data import store
from lra_bench.errors import UsageError
from lra_bench.leaderboard.board import ORDER
from lra_bench.ranges import parse
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.training.learner import make_learner

PRESETS = {"smoke", "mini", "small", "paper"}
LANGUAGE = [name for name in TASKS.names() if isinstance(TASKS.get(name).target(), TokenTask)]


@pytest.mark.parametrize("task", TASKS.names())
def test_every_task_has_the_presets(task):
    """The LRA paper has settings only for its own tasks; the Performer paper, for its data."""
    lacking = {"mini"} if task == "pathx" else set() if task in ORDER else {"small", "paper"}
    language = {"smoke", "mini"} if task == "mqar" else {"smoke", "mini", "regular"}
    assert set(presets(task)) >= (language if task in LANGUAGE else PRESETS - lacking)


EVERY = [(task, preset) for task in TASKS.names() for preset in presets(task)]


def attentions_on(task):
    """Every attention on one task, and on the others the one that is built for their length.

    Next tokens need one that can be causal.
    """
    if task == "listops":
        return ATTENTIONS.names()
    return ["performer-softmax" if task in LANGUAGE else "linformer"]


# Of the presets the largest takes every attention. 36 layers are long to trace.
CASES = [
    pytest.param(*case, attention, marks=[pytest.mark.slow] if rare else [])
    for case in EVERY
    for attention in attentions_on(case[0])
    for rare in [
        case[1] == "progen"
        or (case[0] == "listops" and case[1] != "paper" and attention != "linformer")
    ]
]


@pytest.mark.parametrize(("name", "preset", "attention"), CASES)
def test_every_preset_builds(name, preset, attention):
    layers = [] if attention == "linformer" else ["model.num_layers=1"]  # they are all alike
    settings = make_settings(name, attention, preset, 0, layers)
    task = TASKS.get(name).target(**settings.data)
    state = jax.eval_shape(make_learner(task, settings).init, jax.random.key(0))
    assert state.params
    json.dumps(settings.as_dict(), allow_nan=False)


def test_small_is_nystromformers_setting():
    """Issue text and LRA/code/lra_config.py of that repository."""
    settings = make_settings("listops", "softmax", "small", 0)
    model, train = settings.model, settings.train
    sizes = (model.num_layers, model.emb_dim, model.ffn_dim, model.num_heads, model.head_dim)
    assert sizes == (2, 64, 128, 2, 32)
    assert (model.positions, model.pooling, model.dropout) == ("learned", "mean", 0.1)
    loop = (train.batch_size, train.num_steps, train.learning_rate, train.warmup_steps)
    assert loop == (32, 5_000, 1e-4, 1_000)
    assert (train.schedule, train.eval_every) == ("linear", 50)
    assert settings.data["max_length"] == 2_000


# For each key another valid value, and what must change with it.
CHANGES = {
    "model.num_layers": "3",
    "model.emb_dim": "48",
    "model.ffn_dim": "48",
    "model.num_heads": "3",
    "model.head_dim": "8",
    "model.positions": "sinusoidal",
    "model.pooling": "cls",
    "model.dropout": "0.5",
    "model.dtype": "bfloat16",
    "model.init": "pytorch",
    "model.activation": "gelu-erf",
    "model.hidden_dropout": "0.5",
    "model.norm_epsilon": "0.5",
    "model.projection_bias": "false",
    "model.vocab_size": "40",
    "model.padded_length": "64",
    "train.accumulate": "2",
    "attention.causal": "true",
    "attention.estimator": "hyperbolic",
    "attention.projection": "iid",
    "attention.regularized": "true",
    "attention.renormalize": "false",
    "train.batch_size": "8",
    "train.schedule": "rsqrt",
    "train.learning_rate": "0.5",
    "train.warmup_steps": "9",
    "train.weight_decay": "0.5",
    "train.beta2": "0.5",
    "train.epsilon": "0.5",
    "train.clip_norm": "0.5",
    "train.clip_value": "0.5",
    "train.num_steps": "30",
    "data.train_size": "256",
    "data.validation_size": "32",
    "data.test_size": "32",
    "data.min_length": "4",
    "data.max_length": "40",
    "data.max_depth": "3",
    "data.max_args": "4",
    "data.seed": "1",
    "data.brackets": "dropped",
    "attention.num_features": "32",
}
# Keys of the loop, whose effect is seen in a run's files: test_cli.py, test_selection.py,
# test_limit.py.
LOOP = {"train.log_every", "train.eval_every", "train.eval_batch_size", "train.resample_every"}
LOOP |= {"train.eval_drop_last", "train.select_after", "train.eval_examples"}
# Sources and device counts are tried in test_cli.py and test_devices.py. Bits need a rate of
# dropout, and heads of pairs two documents: test_published_models.py.
ELSEWHERE = {"train.num_devices", "train.sequence_devices", "data.source", "model.dropout_bits"}
ELSEWHERE |= {"model.pair_head_layers", "model.pair_features"}
# It changes no number: test_encoder.py.
ELSEWHERE |= {"model.remat"}


def keys():
    settings = make_settings("listops", "performer-softmax", "smoke", 0)
    groups = {
        "model": dataclasses.asdict(settings.model),
        "train": dataclasses.asdict(settings.train),
        "data": {**settings.data, "source": ""},
        "attention": settings.attention_options,
    }
    return {f"{group}.{key}" for group, values in groups.items() for key in values}


def test_there_is_a_change_for_every_key():
    assert CHANGES.keys() | LOOP | ELSEWHERE == keys()


@pytest.fixture(scope="module")
def usual(data_dir):
    """What both attentions have before any change."""
    return {name: list(fingerprints(data_dir, name)) for name in ("identity", "performer-softmax")}


@pytest.mark.parametrize("key", CHANGES)
def test_every_key_does_something(key, usual, data_dir):
    """It changes the data, the initial state or the training step: no key is for show."""
    attention = "performer-softmax" if key.startswith("attention.") else "identity"
    changed = fingerprints(data_dir, attention, f"{key}={CHANGES[key]}")
    assert any(one != other for one, other in zip(usual[attention], changed, strict=True))


def test_the_bits_of_dropout_come_from_the_generator_that_is_set(data_dir):
    dropped, by_device = (
        list(fingerprints(data_dir, "identity", "model.dropout=0.5", f"model.dropout_bits={name}"))
        for name in ("threefry", "rbg")
    )
    assert dropped != by_device


def test_a_key_of_the_loop_changes_none_of_it(usual, data_dir):
    """Equal settings have equal fingerprints: a difference is the key's."""
    assert list(fingerprints(data_dir, "identity", "train.log_every=3")) == usual["identity"]


def fingerprints(root, attention, *overrides):
    """Of the bytes of the data, then of the programs of the initial state and of a step."""
    settings = make_settings("listops", attention, "smoke", 0, overrides)
    task = TASKS.get("listops").target(**settings.data)
    yield store.open_store(prepared(root, task, "generate")).provenance().sha256
    learner = make_learner(task, settings)
    key = jax.random.key(0)
    traced = jax.jit(learner.init).trace(key)
    yield program(traced)
    size = (settings.train.batch_size, task.max_len)
    shapes = (jax.ShapeDtypeStruct(size, "uint8"), jax.ShapeDtypeStruct(size[:1], "int32"))
    yield program(jax.jit(learner.train_step).trace(traced.out_info, *shapes, key))


def program(traced):
    """The text of the operations, and the digests of their constants."""
    constants = [np.asarray(constant) for constant in traced.jaxpr.consts]
    text = re.sub("0x[0-9a-f]+", "", str(traced.jaxpr))  # where functions lie
    return text, [hashlib.sha256(x.tobytes()).hexdigest() for x in constants]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.num_step=10", "unknown --set key 'train.num_step'; did you mean 'train.num_steps'"),
        ("trian.num_steps=10", "unknown --set key 'trian.num_steps'; did you mean 'train.num_st"),
        ("train.lr=1", "unknown --set key 'train.lr'; did you mean 'train.learning_rate'? valid: "),
        ("train.dropout=0", "did you mean 'model.dropout'?"),
        ("learning_rate=1", "did you mean 'train.learning_rate'? valid: data.*, model.*, train.*"),
        ("LR=1", "did you mean 'train.learning_rate'?"),
        ("train.Learning-Rate=1", "did you mean 'train.learning_rate'?"),
        ("bs=1", "did you mean 'train.batch_size'?"),
        ("epochs=3", "did you mean 'train.num_steps'?"),
        ("heads=3", "did you mean 'model.num_heads'?"),
        ("model.dim=3", "did you mean 'model.emb_dim' or 'model.head_dim'?"),
        ("attention.features=3", "did you mean 'attention.num_features'?"),
        ("attention.dropout=3", "'attention.dropout' of performer-softmax; did you mean 'model.dr"),
        ("data.length=3", "did you mean 'data.max_length'"),
        ("\x1b[31m\n=3", r"unknown --set key '\x1b[31m'"),
        (
            "train.num_steps=ten",
            "train.num_steps='ten': must be a whole number from 1 to 2,147,483,",
        ),
        ("train.num_steps=1.5", "train.num_steps=1.5: must be a whole number from 1 to"),
        ("train.num_steps=", "train.num_steps='': must be a whole number"),
        ("train.num_steps=true", "must be a whole number"),
        ("train.num_steps=[3]", "must be a whole number"),
        ("train.num_steps=5,train.batch_size=8", "for several keys repeat --set"),
        ("train.num_steps=5%", "must be a whole number"),
        ("train.num_steps", "must be key=value"),
        ("train.num_steps=0", "train.num_steps=0: must be a whole number from 1"),
        ("train.batch_size=1e999", "train.batch_size=inf: must be a whole number"),
        ("train.learning_rate=-1", "train.learning_rate=-1: must be a number from 1e-12 to 100"),
        ("train.learning_rate=1,5", "must be a number"),
        ("train.clip_norm=-1", "must be 0 or a number from 1e-06 to 1e+06"),
        ("train.clip_norm=none", "1e+06; 0 stands for none"),
        ("train.learning_rate=fast", "train.learning_rate='fast': must be a number"),
        ("train.learning_rate=nan", "must be a number"),
        ("train.beta2=1.0", "train.beta2=1.0: must be a number from 0 to 0.999999"),
        ("train.beta2=0.99999999", "must be a number from 0 to 0.999999"),
        ("train.schedule=stairs", "must be one of constant, linear, cosine, rsqrt"),
        ("train.accumulate=3", "train.accumulate=3 does not divide train.batch_size=32"),
        ("model.dtype=bf16", "did you mean 'bfloat16'? must be one of float32, bfloat16"),
        ("model.dropout=1.0", "model.dropout=1.0: must be a number from 0 to 0.99"),
        ("data.max_length=10", "no length lies strictly between"),
        ("data.train_size=0", "data.train_size=0: must be a whole number from 1 to 100,000,000"),
        ("data.source=web", "unknown data source of listops 'web'; valid: generate, release"),
        ("attention.num_feature=9", "did you mean 'attention.num_features'"),
        ("attention.num_features=0", "attention.num_features=0: must be a whole number from 1 to"),
        ("attention.causal=perhaps", "attention.causal='perhaps': must be true or false"),
        ("seed=3", "is an argument of its own, --seed"),
        ("seeds=0,1", "unknown --set key 'seeds'; a run has one seed; `lra-bench sweep --seeds`"),
        ("attention=linear", "is an argument of its own, --attention"),
        ("=3", "unknown --set key ''"),
        ("data_dir=x", "is an argument of its own, --data-dir"),
    ],
)
def test_wrong_overrides_are_told(override, message):
    with pytest.raises(UsageError) as error:
        make_settings("listops", "performer-softmax", "mini", 0, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mechanism_without_options_says_so():
    with pytest.raises(UsageError, match="it has no options"):
        make_settings("listops", "identity", "mini", 0, ["attention.num_features=3"])


def test_later_overrides_win():
    overrides = ["train.num_steps=5", "train.num_steps=6"]
    assert make_settings("listops", "softmax", "mini", 0, overrides).train.num_steps == 6


def test_a_mechanism_that_cannot_be_causal_says_so():
    with pytest.raises(UsageError, match=r"--set attention\.causal: linformer can't be causal"):
        make_settings("listops", "linformer", "mini", 0, ["attention.causal=true"])


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.num_steps=1e3", 1_000),
        ("train.num_steps=1k", 1_000),
        ("train.num_steps=2.5k", 2_500),
        ("train.num_steps=1M", 1_000_000),
        ("train.num_steps=4Ki", 4_096),
        ("train.num_steps=1,000", 1_000),
        ("train.num_steps=1_000", 1_000),
        ("train.num_steps=600.0", 600),
        ("train.num_steps=+600", 600),
        ("train.num_steps='600'", 600),
        (" train.num_steps = 600 ", 600),
        ("train.learning_rate=1", 1.0),
        ("train.learning_rate=.5", 0.5),
        ("train.learning_rate=2E-3", 2e-3),
        ("train.clip_norm=0", 0.0),
        ("model.dtype=BFloat16", "bfloat16"),
        ('model.pooling="cls"', "cls"),
        ("attention.causal=true", True),
        ("attention.causal=True", True),
        ("attention.causal=yes", True),
        ("attention.causal=ON", True),
        ("attention.causal=1", True),
        ("attention.causal=no", False),
        ("attention.causal=off", False),
        ("attention.estimator=Hyperbolic", "hyperbolic"),
        ("data.max_length=1e3", 1_000),
    ],
)
def test_values_may_be_written_as_people_do(override, value):
    settings = make_settings("listops", "performer-softmax", "mini", 0, [override])
    group, _, name = override.partition("=")[0].strip().partition(".")
    groups = {**settings.as_dict(), "attention": settings.attention_options}
    assert (type(groups[group][name]), groups[group][name]) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("none", Any, None),
        ("3", Any, 3),
        ("word", Any, "word"),
        ("[1, 2]", tuple, [1, 2]),
        ("a, b", tuple, ("a", "b")),
        ("3", tuple, ("3",)),
        ("null", float | None, None),
        ("0.5", float | None, 0.5),
        ("none", str, "none"),
        ("[" * 10_000, Any, "[" * 10_000),
        ("9" * 10_000, int, "9" * 10_000),
        *((end, int, end) for end in ("024", "-024", "000", "024k", "0_1")),
        *((number, float, float(number)) for number in ("0", "0.5", "-0", "0e3")),
    ],
)
def test_other_types_of_values(text, hint, value):
    assert parse(text, hint) == value


ABSURD = [
    "-1", "-0.5", "1e30", "1e400", "-1e400", "nan", "inf", "-inf", "9" * 400, "9" * 5_000, "[]",
    "{}", "x", "\x1b[31m", "", " ", "''", "0x10", "1/2", "5%", "null", "2024-01-01", "a=b",
]  # fmt: skip
# Values that are numbers, but no whole ones or far too many; counts and sizes refuse them.
NO_COUNTS = ["0.5", "1e-300", "1e18", "99999999999", "true"]
ONE_OF_EACH = [("listops", name) for name in ATTENTIONS.names()]
ONE_OF_EACH += [(task, "identity") for task in TASKS.names() if task != "listops"]


@pytest.mark.parametrize(("task", "attention"), ONE_OF_EACH)
def test_absurd_values_of_every_key_are_refused(task, attention):
    """In one line that names the key, the value and what is valid.

    Any word may stand in a list; its task checks it.
    """
    preset = make_settings(task, attention, "smoke", 0)
    groups = {"data": preset.data, "attention": preset.attention_options}
    if (task, attention) == ("listops", "identity"):
        groups |= {"model": vars(preset.model), "train": vars(preset.train)}
    values = [(g, n, v) for g in groups for n, v in groups[g].items() if type(v) is not tuple]
    for group, name, usual in values:
        absurd = [text for text in ABSURD if usual is not None or text != "null"]
        for text in absurd + (NO_COUNTS if type(usual) is int else []):
            with pytest.raises(UsageError) as error:
                make_settings(task, attention, "smoke", 0, [f"{group}.{name}={text}"])
            message = str(error.value)
            assert message.startswith(f"--set {group}.{name}="), (text, message)
            assert "must be " in message
            assert message.isprintable()
            assert len(message) < 400


@pytest.mark.parametrize(
    "override",
    ["train.beta2=1.0", "train.learning_rate=1e30", "model.dropout=1", "data.max_length=1e12",
     "train.batch_size=0", "train.eval_every=0", "attention.num_features=0"],
)  # fmt: skip
def test_nothing_is_done_before_a_value_is_refused(override, cli, tmp_path):
    out = tmp_path / "run"
    refused(cli("run", "--preset", "smoke", "--set", override, "--out", out), 2, "must be ")
    assert not out.exists()


@pytest.mark.parametrize("seed", [-1, 2**32, 10**400, True, 1.0, None, "0"])
def test_a_wrong_seed_is_refused(seed):
    with pytest.raises(
        UsageError, match=r"--seed=.*: must be a whole number from 0 to 4,294,967,295"
    ):
        make_settings("listops", "softmax", "smoke", seed)


@pytest.mark.parametrize(
    ("preset", "problem"),
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: sys.exit(1), "SystemExit"),
        (lambda: None, "TypeError"),
        (dict, "KeyError: 'data'"),
        (lambda: {"data": {}, "model": 3, "train": {}}, "model is 3: must be a group of settings"),
        (lambda: {"data": {}, "model": {}, "train": {}}, "model.dropout is missing"),
        (lambda: {"data": {"x": 1}, "model": {}, "train": {}}, "unexpected keyword argument 'x'"),
        (lambda: changed(beta2=1.0), "train.beta2=1.0: must be a number from 0 to 0.999999"),
        (lambda: changed(batch_size=True), "train.batch_size=True: must be a whole number"),
        (lambda: changed(momentum=1.0), "train.momentum is unknown"),
    ],
)
def test_a_preset_passes_the_same_checks(preset, problem, monkeypatch):
    monkeypatch.setitem(listops.PRESETS, "mine", preset)
    with pytest.raises(UsageError) as error:
        make_settings("listops", "softmax", "mine", 0)
    assert problem in str(error.value)


def changed(**train):
    """A preset with other training settings."""
    config = listops.smoke()
    return {**config.to_dict(), "train": {**config.train.to_dict(), **train}}
