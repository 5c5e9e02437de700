"""Recall: what its examples hold, how they differ, and the chance of a model that cannot bind."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from common import read_record, refused
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from lra_bench.config import make_settings
from lra_bench.contracts import SPLITS, Reading
from lra_bench.data.chance import COMMONEST, Chance
from lra_bench.records import record
from lra_bench.records.run_folder import RunFolder
from lra_bench.sweep.failure_record import write_failure
from lra_bench.sweep.plan import Job
from lra_bench.tasks import recall
from lra_bench.tasks.recall import Recall, expected_most

FEW = {"train_size": 300, "validation_size": 40, "test_size": 60}
SMALL = Recall(num_pairs=3, num_keys=5, num_values=6, distractors=2, gap=3, **FEW)
SEPARATE = Recall(num_pairs=3, num_keys=5, num_values=6, distractors=2, gap=3, tokens="separate",
                  **FEW)  # fmt: skip
FEW_OF_FEW = {"train_size": 20, "validation_size": 4, "test_size": 4}
SMOKE_TASK = Recall(**make_settings("recall", "identity", "smoke", 0).data)
LARGER = ("--set=data.train_size=2000", "--set=data.test_size=1000")
SIGNIFICANCE = 1e-3  # the seeds are fixed


def collect(task):
    """The tokens and labels of each split."""
    parts = {}
    for split, tokens, labels in task.read(Reading("generate", None, Path("unused"))):
        parts.setdefault(split, []).append((tokens, labels))
    return {k: [np.concatenate(x) for x in zip(*v, strict=True)] for k, v in parts.items()}


def parsed(task, text):
    """The pairs of an example in writing, in order, and the key that is asked for."""
    *words, asked = [word for word in text.split() if not word.startswith(("n", "_"))]
    if task.tokens == "pair":
        pairs = [tuple(word.split("=")) for word in words]
    else:
        pairs = list(zip(words[::2], words[1::2], strict=True))
    assert asked.endswith("?")
    return pairs, asked.removesuffix("?")


@st.composite
def tasks(draw):
    """Any small task; some of them have all the examples that there can be."""
    keys, values = draw(st.integers(1, 9)), draw(st.integers(2, 40))
    pairs = draw(st.integers(1, keys))
    most = keys * values**pairs
    assume(most >= 12)
    test, validation = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return Recall(
        num_pairs=pairs,
        num_keys=keys,
        num_values=values,
        distractors=draw(st.integers(0, 5)),
        gap=draw(st.integers(0, 5)),
        tokens=draw(st.sampled_from(["pair", "separate"])),
        train_size=min(200, most - test - validation),
        validation_size=validation,
        test_size=test,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(max_examples=60, deadline=None)
@given(tasks())
def test_examples_are_what_the_options_say(task):
    """The label is the value of the key; keys differ; noise stands where it should."""
    asked = Counter()
    for split, (tokens, labels) in collect(task).items():
        assert tokens.shape == (task.sizes("generate")[split], task.max_len)
        assert tokens.max() < task.vocab_size
        np.testing.assert_array_equal(task.compute_labels(tokens), labels)
        assert np.ptp(np.bincount(labels, minlength=task.num_values)) <= 2
        for row, label in zip(tokens, labels, strict=True):
            text = task.to_text(row)
            pairs, key = parsed(task, text)
            assert task.class_names[label] == dict(pairs)[key]
            assert len(dict(pairs)) == len(pairs) == task.num_pairs
            words = text.split()
            assert sum(word.startswith("n") for word in words) == task.distractors
            assert words[len(words) - 1 - task.gap : -1] == ["_"] * task.gap
            asked[frozenset(pairs), key] += 1
    assert max(asked.values()) == 1, "two examples ask the same of the same pairs"


def test_every_possible_example_can_be_had_and_no_more():
    """2 keys, 3 values, 2 pairs: 18 examples, each once; a 19th is refused."""
    sizes = {"train_size": 9, "validation_size": 3, "test_size": 6}
    task = Recall(num_pairs=2, num_keys=2, num_values=3, **sizes)
    found = {
        (frozenset(pairs), key)
        for tokens, _ in collect(task).values()
        for pairs, key in (parsed(task, task.to_text(row)) for row in tokens)
    }
    values = ("v0", "v1", "v2")
    assert found == {
        (frozenset({("k0", a), ("k1", b)}), key)
        for a, b, key in itertools.product(values, values, ("k0", "k1"))
    }
    with pytest.raises(ValueError, match=r"need 19 different examples, but .* only 18"):
        Recall(num_pairs=2, num_keys=2, num_values=3, **{**sizes, "train_size": 10})


@pytest.mark.parametrize("task", [SMALL, SEPARATE])
def test_an_example_is_a_function_of_split_and_index(task, monkeypatch):
    """Not of the others, nor of how many are made at once, nor of the sizes of later splits."""
    whole = collect(task)
    for split in SPLITS:
        tokens, labels = task.examples(split, np.array([17, 3]))
        np.testing.assert_array_equal(tokens, whole[split][0][[17, 3]])
        np.testing.assert_array_equal(labels, whole[split][1][[17, 3]])
    monkeypatch.setattr(recall, "_CELLS_A_BLOCK", 7 * task.max_len)
    more = collect(replace(task, train_size=310))
    for split in SPLITS:
        np.testing.assert_array_equal(more[split][0][: len(whole[split][0])], whole[split][0])
    assert not np.array_equal(collect(replace(task, seed=1))["test"][0], whole["test"][0])


def test_the_first_example_is_the_frozen_one():
    """Change this only with a new `version`: else stored data no longer are what they say."""
    for task, text in ((SMALL, GOLDEN), (SEPARATE, GOLDEN_SEPARATE)):
        assert task.to_text(task.examples("train", np.array([0]))[0][0]) == text


GOLDEN = "k4=v0 n4 k2=v4 n12 k0=v3 _ _ _ k0?"
GOLDEN_SEPARATE = "k4 v0 n3 k2 v4 n14 k0 v3 _ _ _ k0?"


def test_examples_in_a_row_share_nothing():
    """Of the key that is asked for and the values of the others, whatever the labels are."""
    task = Recall()
    tokens, labels = task.examples("test", np.arange(task.test_size))
    asked = tokens[:, -1].astype(int) - task.num_keys * task.num_values
    counts = np.bincount(asked, minlength=task.num_keys)
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE
    keys, values = np.divmod(np.sort(tokens[:, :-1].astype(int), axis=1), task.num_values)
    others = np.where(keys == asked[:, None], -1, values)
    same = (others[1:] == others[:-1]) & (others[1:] >= 0) & (others[:-1] >= 0)
    pairs = ((others[1:] >= 0) & (others[:-1] >= 0)).sum()
    assert stats.binomtest(int(same.sum()), int(pairs), 1 / task.num_values).pvalue > SIGNIFICANCE
    assert len(set(labels[: task.num_values])) == task.num_values


def test_everything_is_drawn_alike():
    """The place, the key and the value of the pair asked for, and all other pairs."""
    task = Recall(num_pairs=4, num_keys=6, num_values=5, distractors=3, seed=3,
                  train_size=1_200, validation_size=300, test_size=300)  # fmt: skip
    counts = {name: Counter() for name in ("place", "asked", "label", "keys", "values", "noise")}
    for tokens, _ in collect(task).values():
        for words in (task.to_text(row).split() for row in tokens):
            key = words[-1][:-1]
            (place,) = [n for n, word in enumerate(words) if word.startswith(f"{key}=")]
            pairs = [tuple(word.split("=")) for word in words if "=" in word]
            counts["place"][place] += 1
            counts["asked"][key] += 1
            counts["label"][dict(pairs)[key]] += 1
            counts["keys"].update(other for other, _ in pairs if other != key)
            counts["values"].update(value for other, value in pairs if other != key)
            counts["noise"].update(word for word in words if word.startswith("n"))
    sizes = {"place": 7, "asked": 6, "label": 5, "keys": 6, "values": 5, "noise": 16}
    for name, size in sizes.items():
        assert len(counts[name]) == size
        assert stats.chisquare(list(counts[name].values())).pvalue > SIGNIFICANCE, name


class TestGrammar:
    """Tokens that are no example have no label."""

    # k1=v2 n0 k0=v1 _ _ k1?
    PAIR = Recall(num_pairs=2, num_keys=3, num_values=4, distractors=1, gap=2, **FEW_OF_FEW)
    GOOD = (6, 15, 1, 31, 31, 13)
    # k1 v2 n0 k0 v1 _ _ k1?
    APART = replace(PAIR, tokens="separate")
    GOOD_APART = (1, 5, 7, 0, 4, 23, 23, 1)

    @pytest.mark.parametrize(("task", "good"), [(PAIR, GOOD), (APART, GOOD_APART)])
    def test_good(self, task, good):
        assert task.compute_labels(np.array([good], np.uint8)).tolist() == [2]

    @pytest.mark.parametrize(
        "bad",
        [
            (6, 15, 5, 31, 31, 13),  # k1 twice
            (6, 15, 16, 31, 31, 13),  # one pair
            (6, 2, 1, 31, 31, 13),  # no distractor
            (6, 15, 1, 31, 31, 14),  # the key of no pair
            (6, 15, 1, 31, 31, 6),  # a pair at the end
            (6, 15, 31, 1, 31, 13),  # a pair in the gap
            (6, 1, 31, 15, 31, 13),  # a distractor in the gap
            (6, 13, 1, 31, 31, 13),  # a key alone
            (6, 15, 1, 31, 31, 15),  # a distractor at the end
        ],
    )
    def test_pairs_of_one_token(self, bad):
        tokens = np.array([self.GOOD, bad, self.GOOD], np.uint8)
        assert self.PAIR.compute_labels(tokens).tolist() == [2, -1, 2]

    def test_another_key_twice(self):
        """k1=v2 k0=v1 k2=v3 k1?, and with k0 in place of k2."""
        task = Recall(num_pairs=3, num_keys=3, num_values=4, **FEW_OF_FEW)
        tokens = np.array([(6, 1, 11, 13), (6, 1, 3, 13)], np.uint8)
        assert task.compute_labels(tokens).tolist() == [2, -1]

    @pytest.mark.parametrize(
        "bad",
        [
            (1, 5, 7, 1, 4, 23, 23, 1),  # k1 twice
            (1, 5, 7, 7, 4, 23, 23, 1),  # a value alone
            (1, 7, 5, 0, 4, 23, 23, 1),  # a distractor between a key and its value
            (1, 0, 5, 4, 7, 23, 23, 1),  # two keys in a row
            (1, 5, 7, 0, 4, 23, 23, 2),  # the key of no pair
            (1, 5, 7, 0, 4, 23, 23, 4),  # a value at the end
            (1, 5, 7, 23, 0, 4, 23, 1),  # a pair in the gap
        ],
    )
    def test_tokens_of_their_own(self, bad):
        tokens = np.array([self.GOOD_APART, bad, self.GOOD_APART], np.uint8)
        assert self.APART.compute_labels(tokens).tolist() == [2, -1, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_pairs": 17}, "num_keys=16, num_pairs=17: the keys of an example differ"),
        ({"num_keys": 4_096}, "69,649 token ids, must be at most 65,536"),
        ({"num_values": 1}, "num_values=1: must be"),
        ({"tokens": "both"}, "tokens='both': must be one of pair, separate"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Recall(**options)


def test_ids_of_many_values_fit_when_keys_and_values_are_apart():
    task = Recall(num_keys=4_096, num_values=8_192, tokens="separate", **FEW)
    assert task.vocab_size == 4_096 + 8_192 + 17
    assert collect(task)["train"][0].dtype == np.uint16
    assert collect(SEPARATE)["train"][0].dtype == np.uint8


class TestChance:
    """E[largest count] / pairs: the best guess of a model that sees all but which key has which."""

    @pytest.mark.parametrize(("items", "boxes"), [(1, 1), (1, 7), (5, 1), (4, 3), (3, 9), (7, 2)])
    def test_every_case(self, items, boxes):
        cases = itertools.product(range(boxes), repeat=items)
        largest = [max(Counter(case).values()) for case in cases]
        assert expected_most(items, boxes) == pytest.approx(np.mean(largest), rel=1e-12)

    @pytest.mark.parametrize(("items", "boxes"), [(16, 16), (64, 64), (256, 8), (9, 500)])
    def test_simulation(self, items, boxes):
        draws = np.random.default_rng(0).integers(boxes, size=(20_000, items))
        draws += boxes * np.arange(len(draws))[:, None]
        counts = np.bincount(draws.ravel(), minlength=boxes * len(draws))
        largest = counts.reshape(len(draws), boxes).max(axis=1)
        error = largest.std() / np.sqrt(len(draws))
        assert abs(expected_most(items, boxes) - largest.mean()) < 3.5 * error

    @pytest.mark.parametrize("kind", ["pair", "separate"])
    def test_the_guess_itself(self, kind):
        """Its accuracy on examples is that, within a binomial error; and no worse by any label."""
        task = Recall(num_pairs=6, num_keys=8, num_values=5, tokens=kind, train_size=5_000)
        tokens, labels = collect(task)["train"]
        right = task.features(tokens).argmax(axis=1) == labels
        error = np.sqrt(task.chance() * (1 - task.chance()) / len(right))
        assert abs(right.mean() - task.chance()) < 3.5 * error
        assert task.chance() > np.bincount(labels).max() / len(labels) + 10 * error


def test_data_are_checked_and_shown(cli, tmp_path):
    """All checks pass, also that a linear model sees which value is the commonest."""
    options = ("recall", "--preset", "smoke", "--data-dir", tmp_path, *LARGER)
    assert cli("data", "prepare", *options)[0] == 0
    status, out, _ = cli("data", "check", *options)
    assert status == 0, out
    assert "WRONG" not in out
    assert f"chance {SMOKE_TASK.chance():.1%}" in out
    assert cli("data", "show", *options)[1].count("label") == 3
    drawn = cli("data", "show", *options, "--out", tmp_path / "x.png")
    refused(drawn, 2, "x.png: only images become a picture; recall is printed")


@pytest.mark.ci
def test_the_record_says_which_chance(cli, tmp_path):
    """So does what the run prints, and the table has it; other tasks keep the commonest answer."""
    run = ("run", "--task", "recall", "--preset", "smoke", "--attention", "identity")
    status, out, _ = cli(*run, "--set", "train.eval_every=24", "--out", tmp_path)
    assert status == 0
    found = read_record(tmp_path / "record.json")
    assert found["chance"] == SMOKE_TASK.chance()
    assert found["guess"] == "always the commonest value present"
    assert f"{found['chance']:.1%} (always the commonest value present)" in out
    assert f"{100 * found['chance']:.1f} |" in cli("table", tmp_path)[1]


def test_a_run_that_could_not_write_its_record_has_that_chance_too(cli, tmp_path):
    job = Job("recall-identity", "recall", "identity", "smoke", 0, ())
    assert cli("data", "prepare", "recall", "--preset", "smoke", "--data-dir", tmp_path)[0] == 0
    write_failure(job, RunFolder(tmp_path / "run"), tmp_path, "failed", "it was killed")
    found = read_record(tmp_path / "run/record.json")
    assert (found["chance"], found["guess"]) == (SMOKE_TASK.chance(), Recall.guess)


def test_records_without_the_key_are_of_the_commonest_answer(cli, tmp_path):
    settings_ = make_settings("listops", "identity", "smoke", 0)
    values = record.begin(settings_, Chance(0.17)).as_dict()
    assert values["guess"] == COMMONEST
    del values["guess"]
    assert record.parse(values).guess == COMMONEST
