"""What `data check` finds, and what it must not let pass."""

from dataclasses import replace
from pathlib import Path

import layouts
import numpy as np
import pytest
from stores import prepared

from lra_bench.contracts import Reading
from lra_bench.data import canary
from lra_bench.data.check import Finding, check
from lra_bench.data.manifest import Manifest
from lra_bench.data.store import Split, Store, open_store
from lra_bench.tasks._pathfinder import generator
from lra_bench.tasks.image import Image
from lra_bench.tasks.listops import ListOps, without_brackets
from lra_bench.tasks.pathfinder import Pathfinder
from lra_bench.tasks.pathx import PathX
from lra_bench.tasks.retrieval import Retrieval
from lra_bench.tasks.text import Text

LISTOPS = ListOps(2_000, 300, 300, min_length=8, max_length=80)
RETRIEVAL = Retrieval(max_length=80)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A store of each task, large enough for its canary."""
    folder = tmp_path_factory.mktemp("stores")
    layouts.imdb(folder / "aclImdb_v1.tar.gz", train=150, test=120)
    layouts.cifar(folder / "cifar-10-binary.tar.gz", train=100, test=300)
    layouts.aan(folder / "tsv_data", (400, 64, 240))
    places = {
        LISTOPS: prepared(folder, LISTOPS, "generate"),
        Text(): prepared(folder, Text(), "archive", folder),
        Image(): prepared(folder, Image(), "archive", folder),
        RETRIEVAL: prepared(folder, RETRIEVAL, "release", folder),
    }
    return {task.name: (task, open_store(place)) for task, place in places.items()}


@pytest.fixture(scope="module")
def path():
    """Pathfinder in memory: 1,000 images of 14 paddles, whose features are made once."""
    images, labels = generator.generate(generator.spec(32, 14), 0, 0, 1_000)
    tokens = images.reshape(1_000, -1)
    rows = zip(tokens, Pathfinder().features(tokens), strict=True)
    known = {row.tobytes(): features for row, features in rows}

    class Known(Pathfinder):
        def features(self, tokens):
            return np.stack([known[row.tobytes()] for row in tokens])

    return Known(), in_memory(tokens, labels, (600, 100, 300))


def in_memory(tokens, labels, sizes):
    edges = np.cumsum((0, *sizes))
    names = ("train", "validation", "test")
    splits = {
        name: Split(tokens[a:b], labels[a:b].astype(np.int32))
        for name, a, b in zip(names, edges, edges[1:], strict=False)
    }
    manifest = Manifest(2, "x", "x", None, {}, {}, 1, "x", {}, [], official=False, checksum="")
    return Store(splits, manifest)


def whole(store):
    """All examples of the store, and their labels."""
    splits = store.splits.values()
    return [np.concatenate(x) for x in ([s.tokens for s in splits], [s.labels for s in splits])]


def noisy(store):
    """The same examples with their labels shuffled."""
    rng = np.random.default_rng(0)
    splits = {k: replace(s, labels=rng.permutation(s.labels)) for k, s in store.splits.items()}
    return replace(store, splits=splits)


def wrong(task, store):
    """What isn't ok: WRONG, or a note that it can't be said."""
    return [finding.what for finding in check(task, store) if not finding.ok]


@pytest.mark.parametrize("name", ["listops", "text", "image", "retrieval"])
def test_good_data_pass_and_noise_does_not(stores, name):
    task, store = stores[name]
    assert wrong(task, store) == []
    values = [f"{split} values" for split in store.splits] if name == "listops" else []
    assert wrong(task, noisy(store)) == [*values, "canary"]


@pytest.mark.ci
def test_pathfinder_passes_and_noise_does_not(path):
    task, store = path
    assert wrong(task, store) == []
    assert wrong(task, noisy(store)) == ["canary"]


@pytest.mark.slow
def test_the_broken_pathfinder_128_fails_the_canary():
    """Images as they should be, labels that don't belong to them."""
    images, labels = generator.generate(generator.spec(128, 6), 2, 0, 600)
    store = in_memory(images.reshape(600, -1), labels, (300, 50, 250))
    task = PathX(contour_length=6)
    good, bad = (canary.try_canary(task, x) for x in (store, noisy(store)))
    assert good is not None
    assert good.passes
    assert bad is not None
    assert not bad.passes


@pytest.mark.ci
def test_images_shrunk_beyond_following_are_not_judged(path):
    _, store = path
    coarse = {
        name: replace(split, tokens=split.tokens.reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4)))
        for name, split in store.splits.items()
    }
    assert canary.try_canary(Pathfinder(shrink=2), replace(store, splits=coarse)) is None


def test_tiny_data_are_not_judged(stores):
    task, store = stores["text"]
    few = {name: Split(s.tokens[:50], s.labels[:50]) for name, s in store.splits.items()}
    assert canary.try_canary(task, replace(store, splits=few)) is None


def changed(store, split, **parts):
    return replace(store, splits={**store.splits, split: replace(store.splits[split], **parts)})


def leaking(store, count):
    """The store with so many examples of train among those of test."""
    train, test = store.splits["train"], store.splits["test"]
    parts = {"tokens": test.tokens.copy(), "labels": test.labels.copy()}
    for key, values in parts.items():
        values[:count] = getattr(train, key)[:count]
    return changed(store, "test", **parts)


class TestFindings:
    def test_duplicates(self, stores):
        task, store = stores["listops"]
        assert wrong(task, leaking(store, 3)) == []
        assert wrong(task, leaking(store, 27)) == ["duplicates"]

    def test_duplicates_of_short_inputs(self):
        """Nothing is excused that chance does not explain: 9 % is much, 0 within train."""
        task = ListOps(1_000, 300, 300, min_length=3, max_length=20)
        parts = list(task.read(Reading("generate", None, Path("unused"))))
        tokens, labels = (np.concatenate(x) for x in list(zip(*parts, strict=True))[1:])
        store = in_memory(tokens, labels, (1_000, 300, 300))
        assert "duplicates" not in wrong(task, store)
        assert wrong(task, leaking(store, 27)).count("duplicates") == 1

    def test_inputs_that_chance_makes_equal(self):
        """Random expressions of two digits recur in train as often as they do in test."""
        rows = [[operator, a, b, 15] for operator in (11, 12) for a in range(1, 11) for b in (1, 4)]
        tokens = np.pad(np.array(rows, np.uint8), ((0, 0), (0, 6)))
        tokens = tokens[np.random.default_rng(0).integers(len(tokens), size=300)]
        task = ListOps(200, 50, 50, min_length=0, max_length=10)
        found = check(task, in_memory(tokens, task.compute_labels(tokens), (200, 50, 50)))
        assert {f.ok for f in found if f.what == "duplicates"} == {None}

    def test_a_test_set_that_is_the_train_set(self, stores):
        task, store = stores["text"]
        test = store.splits["test"]
        same = changed(store, "train", tokens=test.tokens, labels=test.labels)
        assert "duplicates" in wrong(task, same)
        found = [f for f in check(task, same) if f.text == "train is the test set"]
        assert [f.ok for f in found] == [False]

    def test_examples_that_count_twice(self, stores):
        task, store = stores["image"]
        train = store.splits["train"]
        twice = {k: np.concatenate([getattr(train, k)] * 2) for k in ("tokens", "labels")}
        found = [f for f in check(task, changed(store, "train", **twice)) if not f.ok]
        assert [f.text for f in found] == ["900 of train (100.00%) occur more than once in it"]

    def test_wrong_values_are_counted(self, stores):
        task, store = stores["listops"]
        labels = store.splits["test"].labels.copy()
        labels[::10] = (labels[::10] + 1) % 10
        found = {f.what: f for f in check(task, changed(store, "test", labels=labels))}
        assert found["test values"].ok is False
        assert found["test values"].text == "30 labels are wrong, 0 inputs break the grammar"
        assert found["train values"].ok is True

    def test_an_id_beyond_the_vocabulary(self, stores):
        task, store = stores["text"]
        tokens = store.splits["test"].tokens.copy()
        tokens[-1, 0] = 257
        assert "test tokens" in wrong(task, changed(store, "test", tokens=tokens))

    def test_noise_is_wrong_where_it_can_be_told(self, path):
        """And a note where test examples are too few."""
        task, store = path
        few = {f.what: f.ok for f in check(task, noisy(store))}
        assert few["canary"] is None
        many = noisy(in_memory(*whole(store), (400, 50, 550)))
        assert {f.what: f.ok for f in check(task, many)}["canary"] is False

    def test_a_validation_set_that_is_the_test_set_is_said(self, stores):
        task, store = stores["text"]
        test = store.splits["test"]
        compat = changed(store, "validation", tokens=test.tokens, labels=test.labels)
        same = Finding("duplicates", False, "validation is the test set")
        assert same in list(check(task, compat))
        task = Text(validation="paper-compat")
        found = [f for f in check(task, compat) if f.what == "duplicates"]
        assert [f.ok for f in found] == [True, True, True, None]
        assert found[3].text == "validation is the test set"

    def test_a_validation_set_that_is_part_of_the_test_set_is_said(self, stores):
        """As in preset skyformer."""
        task, store = stores["text"]
        test = store.splits["test"]
        some = {"tokens": test.tokens[::4], "labels": test.labels[::4]}
        compat = changed(store, "validation", **some)
        assert [f.ok for f in check(task, compat) if f.what == "duplicates"][3] is False
        task = Text(validation="paper-compat", validation_size=len(some["labels"]))
        found = [f for f in check(task, compat) if f.what == "duplicates"][3]
        assert (found.ok, found.text.endswith("also in validation, as chosen")) == (None, True)

    def test_one_class_only(self, stores):
        task, store = stores["text"]
        labels = np.ones_like(store.splits["validation"].labels)
        assert wrong(task, changed(store, "validation", labels=labels)) == ["validation labels"]

    def test_padding_before_the_end(self, stores):
        task, store = stores["listops"]
        tokens = store.splits["train"].tokens.copy()
        tokens[3, 2] = 0
        found = wrong(task, changed(store, "train", tokens=tokens))
        assert found == ["train lengths", "train values"]

    def test_empty_examples(self, stores):
        task, store = stores["listops"]
        tokens = store.splits["train"].tokens.copy()
        tokens[3] = 0
        found = wrong(task, changed(store, "train", tokens=tokens))
        assert found == ["train lengths", "train values"]

    def test_black_pixels_that_are_padding_may_be_anywhere(self, stores):
        _, store = stores["image"]
        task = Image(black="padding")
        assert wrong(task, store) == []
        tokens = store.splits["train"].tokens.copy()
        tokens[:9] = 0
        found = {f.what: f for f in check(task, changed(store, "train", tokens=tokens))}
        assert found["train lengths"].ok is None
        assert "0 to 1,024 tokens" in found["train lengths"].text
        assert found["train lengths"].text.endswith("black, which is padding; 9 are all black")

    def test_labels_of_expressions_without_brackets_are_not_judged(self, stores):
        """They do not follow from what is left; the canary still tells noise from data."""
        task, store = replace(LISTOPS, brackets="dropped"), stores["listops"][1]
        splits = {
            name: replace(split, tokens=without_brackets(split.tokens))
            for name, split in store.splits.items()
        }
        dropped = replace(store, splits=splits)
        values = [f"{split} values" for split in splits]
        assert wrong(task, dropped) == values
        found = {f.what: f for f in check(task, dropped)}
        assert {found[name].ok for name in values} == {None}
        assert "when the data were prepared" in found["test values"].text
        assert wrong(task, noisy(dropped)) == [*values, "canary"]

    def test_what_is_said(self, stores):
        said = {finding.what: finding.text for finding in check(*stores["image"])}
        assert said["train labels"].startswith("450 examples, chance 10.7%: airplane 47, ")
        assert said["test lengths"] == "1,024 tokens each, none is padding"
        assert "not the published data" in said["source"]
        assert "above chance (10.0%)" in said["canary"]
