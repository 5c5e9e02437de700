"""MQAR: what its examples hold, how they differ, and the chance of a model that cannot bind."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from common import read_record
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lra_bench.contracts import Reading, TokenTask
from lra_bench.tasks.mqar import Mqar, distinct

FEW = {"train_size": 30, "validation_size": 5, "test_size": 5}
SMALL = Mqar(num_pairs=3, num_queries=2, num_keys=5, num_values=4, gap=2, **FEW)


def collect(task):
    """The tokens of all splits."""
    blocks = task.read(Reading("generate", None, Path("unused")))
    return np.concatenate([tokens for _, tokens, _ in blocks])


def read_text(text):
    """The pairs and the queries of an example in writing, both as lists of (key, value)."""
    words = [word for word in text.split() if word != "_"]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    return pairs, text.split()


@st.composite
def tasks(draw):
    """Any small task; some of them have all the examples that there can be."""
    keys, values = draw(st.integers(1, 9)), draw(st.integers(2, 9))
    pairs = draw(st.integers(1, min(keys, values)))
    task = {"num_pairs": pairs, "num_keys": keys, "num_values": values}
    most = int(np.prod([(keys - i) * (values - i) for i in range(pairs)], dtype=np.int64))
    assume(most >= 12)
    return Mqar(
        num_queries=draw(st.integers(1, pairs)),
        gap=draw(st.integers(0, 5)),
        train_size=min(200, most - 4),
        validation_size=2,
        test_size=2,
        seed=draw(st.integers(0, 2**32 - 1)),
        **task,
    )


@settings(max_examples=60, deadline=None)
@given(tasks())
def test_examples_are_what_the_options_say(task):
    """Queries are pairs, keys and values differ, and no two examples have the same pairs."""
    tokens, seen = collect(task), set()
    assert tokens.shape == (sum(task.sizes("generate").values()), task.max_len)
    assert tokens.max() < task.vocab_size
    assert (task.compute_labels(tokens) == 0).all()
    for row in tokens:
        found, words = read_text(task.to_text(row))
        pairs, queries = found[: task.num_pairs], found[task.num_pairs :]
        assert len(dict(pairs)) == len({value for _, value in pairs}) == task.num_pairs
        assert len(set(queries)) == len(queries) == task.num_queries
        assert set(queries) <= set(pairs)
        start = 2 * task.num_pairs
        assert words[start : start + task.gap] == ["_"] * task.gap
        seen.add(tuple(pairs))
    assert len(seen) == len(tokens)


def test_a_wrong_answer_is_noticed():
    tokens = collect(SMALL)
    tokens[:, -1] = SMALL.num_keys + (tokens[:, -1] - SMALL.num_keys + 1) % SMALL.num_values
    assert (SMALL.compute_labels(tokens) == -1).all()


def test_values_of_queries_alone_are_scored():
    assert isinstance(SMALL, TokenTask)
    tokens = collect(SMALL)[:3]
    places = [*range(2 * 3 + 2 + 1, SMALL.max_len, 2)]
    for library in (np, jnp):
        scored = np.asarray(SMALL.scored(library.asarray(tokens)))
        assert [np.flatnonzero(row).tolist() for row in scored] == [places] * 3


def test_chance_is_that_of_a_guess_among_the_values_left():
    """Whichever of the values left is guessed; here the least."""
    task = Mqar(num_pairs=5, num_queries=4, train_size=4_000)
    tokens = task.examples("train", np.arange(4_000))
    right = []
    for row in tokens.tolist():
        left = set(row[1:10:2])
        for answer in row[11::2]:
            right.append(min(left) == answer)
            left.remove(answer)
    assert task.chance() == pytest.approx((1 / 5 + 1 / 4 + 1 / 3 + 1 / 2) / 4)
    # Guesses within an example depend on each other, hence the wide bound.
    assert abs(np.mean(right) - task.chance()) < 4 * (0.25 / 4_000) ** 0.5


def test_the_examples_are_those_of_version_1():
    """If this fails because the generator was changed on purpose, raise `Mqar.version`."""
    tokens = SMALL.examples("test", np.arange(3))
    assert [SMALL.to_text(row) for row in tokens] == GOLDEN


GOLDEN = [
    "k3 v0 k2 v3 k4 v2 _ _ k3 v0 k4 v2",
    "k1 v1 k0 v0 k2 v3 _ _ k1 v1 k0 v0",
    "k4 v2 k0 v0 k2 v3 _ _ k4 v2 k2 v3",
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_keys": 4}, "num_keys=4, num_pairs=8: those of an example differ"),
        ({"num_values": 7}, "num_values=7, num_pairs=8: those of an example differ"),
        ({"num_queries": 9}, "num_queries=9, num_pairs=8: each pair is asked for once"),
        (
            {"num_pairs": 1, "num_queries": 1, "num_keys": 3, "num_values": 3},
            "the sizes need 102,000 different examples, but num_keys=3, num_values=3, "
            "num_pairs=1 give only 9",
        ),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Mqar(**options)


def test_distinct_takes_each_item_once():
    ranks = np.array([[0, 0, 0], [3, 0, 1], [3, 2, 1]])
    assert distinct(ranks, 4).tolist() == [[0, 1, 2], [3, 1, 0], [3, 0, 1]]


@pytest.mark.ci
def test_a_run_scores_the_queries(cli, tmp_path):
    """The record has its chance and counts the answers of each example."""
    out = tmp_path / "run"
    command = ("run", "--task", "mqar", "--preset", "smoke", "--attention", "softmax")
    status, _, error = cli(*command, "--data-dir", tmp_path / "data", "--out", out)
    assert status == 0, error
    record = read_record(out / "record.json")
    assert record["guess"] == Mqar.guess
    assert record["chance"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 2 + 1) / 4)
    assert record["test"]["examples"] == 64
    assert "counts" in record["test"]
