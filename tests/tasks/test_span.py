"""The task Span: what windows tell about the class, which examples there are, and its options."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from stores import prepared

from lra_bench.config import make_settings
from lra_bench.contracts import Reading
from lra_bench.data.store import open_store
from lra_bench.model.classifier import Classifier
from lra_bench.registry import make_task
from lra_bench.tasks._shuffle import shuffled
from lra_bench.tasks.span import Span

# Six orders of four values of two classes; 90 of six values of three.
SMALL = {"num_slots": 4, "num_classes": 2, "train_size": 10, "validation_size": 1, "test_size": 1}
OTHER = {"num_slots": 6, "num_classes": 3, "train_size": 200, "validation_size": 40,
         "test_size": 30}  # fmt: skip


def every_example(**options):
    """All sequences that are possible, and their classes."""
    task = Span(**options)
    return task.examples(range(sum(task.sizes("generate").values())))


@pytest.mark.parametrize("options", [SMALL, OTHER], ids=["two-classes", "three-classes"])
@pytest.mark.parametrize("span", [1, 2, 5])
def test_a_window_of_so_many_tokens_says_nothing(options, span):
    """Of all sequences that show a window, equally many have each class; one token more tells."""
    tokens, classes = every_example(**options, span=span, length=2 * options["num_slots"] + span)
    for width in range(1, span + 1):
        for start in range(tokens.shape[1] - width + 1):
            assert not tells(tokens[:, start : start + width], classes)
    first = options["num_slots"] - 1  # the last value and the first place of a mark
    assert tells(tokens[:, first : first + span + 1], classes)


def tells(windows, classes):
    """Whether some window is more frequent with one class than with another."""
    counts = Counter(zip(map(bytes, windows), classes.tolist(), strict=True))
    names = range(1 + max(classes.tolist()))
    shown = {window for window, _ in counts}
    return any(len({counts[window, each] for each in names}) > 1 for window in shown)


def logits(attention, *overrides):
    """What a model with random weights answers to all sequences, and their classes."""
    data = [f"data.{name}={value}" for name, value in {**OTHER, "span": 10, "length": 22}.items()]
    layers = ("model.num_layers=2", "model.pooling=cls")
    settings = make_settings("span", attention, "smoke", 0, (*data, *layers, *overrides))
    task = make_task("span", settings.data)
    options = settings.attention_options
    model = Classifier(task, settings.model, attention, options, nnx.Rngs(0))
    tokens, classes = every_example(**settings.data)
    return np.asarray(model(jnp.asarray(tokens, jnp.int32))), classes


@pytest.mark.parametrize(
    ("attention", "overrides"),
    [
        ("identity", ()),
        ("local", ("attention.block_size=10",)),
        ("local", ("attention.block_size=2", "attention.look_around=1")),
    ],
)
def test_answers_of_short_windows_say_nothing(attention, overrides):
    """Each answer is equally frequent with each class, so no training makes them right."""
    answers, classes = logits(attention, *overrides)
    assert not tells(np.round(answers, 3) + 0.0, classes)


@pytest.mark.parametrize(
    ("attention", "overrides"), [("softmax", ()), ("local", ("attention.block_size=23",))]
)
def test_answers_of_long_windows_say_something(attention, overrides):
    answers, classes = logits(attention, *overrides)
    assert tells(np.round(answers, 3) + 0.0, classes)


def test_the_class_is_the_value_of_the_marked_places():
    task = Span(**OTHER, span=3, length=16)
    tokens, classes = every_example(**OTHER, span=3, length=16)
    for row, each in zip(tokens[:20], classes, strict=False):
        values, marks = row[:6] - 2, row[8:14]
        assert sorted(values) == [0, 0, 1, 1, 2, 2]
        assert (marks == (values == each)).all()
        assert not row[6:8].any()
        assert not row[14:].any()
    assert (task.compute_labels(tokens) == classes).all()
    assert task.to_text(tokens[0]).count("x") == 2


def test_labels_of_what_is_no_sequence_are_impossible():
    tokens, _ = every_example(**OTHER, span=3, length=16)
    task, row = Span(**OTHER, span=3, length=16), tokens[0]
    unmarked, one, moved, blank = (row.copy() for _ in range(4))
    unmarked[8:14] = 0
    one[8 + np.flatnonzero(row[8:14])[0]] = 0
    moved[8:14] = np.roll(row[8:14], 1)
    blank[:6][row[8:14] == 1] = 0
    labels = task.compute_labels(np.stack([row, unmarked, one, moved, blank]))
    assert labels[0] >= 0
    assert set(labels[1:]) == {-1}


def test_every_possible_sequence_occurs_once():
    """So no example is in two splits, and none twice in one."""
    tokens, classes = every_example(**OTHER)
    assert len(np.unique(tokens, axis=0)) == len(tokens) == 90 * 3
    assert set(Counter(classes.tolist()).values()) == {90}


def test_an_example_depends_on_its_number_only(tmp_path):
    """Sizes move examples between splits, and change none."""
    task = Span(train_size=3_000, validation_size=30, test_size=20)
    blocks = list(task.read(Reading("generate", None, tmp_path)))
    assert [split for split, *_ in blocks] == ["train"] * 3 + ["validation", "test"]
    tokens, classes = (np.concatenate(part) for part in list(zip(*blocks, strict=True))[1:])
    at = range(2_990, 3_050)
    for found, expected in zip(Span().examples(at), (tokens[2_990:], classes[2_990:]), strict=True):
        assert (found == expected).all()
    assert len(np.unique(tokens, axis=0)) == len(tokens)
    assert np.bincount(classes).min() > 600


def test_the_examples_are_those_of_version_1():
    """If this fails because the generator was changed on purpose, raise `Span.version`."""
    task = Span(span=3, num_slots=16, length=36)
    tokens, classes = task.examples(range(3))
    assert [task.to_text(row).replace(" ", "") for row in tokens] == GOLDEN
    assert classes.tolist() == [2, 0, 1]


GOLDEN = [
    "3210123311220300...x...x....xx......",
    "1013232203101320...x......x..x...x..",
    "3210110012323023....x.xx..x.........",
]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1_000])
def test_shuffled_is_a_permutation(count):
    orders = [[shuffled(index, count, seed) for index in range(count)] for seed in range(2)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert count < 7 or orders[0] != orders[1] != list(range(count))


def test_shuffled_takes_numbers_of_any_size():
    count = 10**90
    places = [shuffled(index, count, 0) for index in range(1_000)]
    assert len(set(places)) == 1_000
    assert all(0 <= place < count for place in places)
    assert 0.45 < np.mean([place / count for place in places]) < 0.55


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_slots": 10}, "num_slots=10: must be a multiple of num_classes=4"),
        ({"length": 40, "span": 40}, "length=40: must be at least"),
        ({**SMALL, "train_size": 11}, "13 examples: only 12 different ones exist"),
        ({"num_classes": 1}, "num_classes"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Span(**options)


def test_every_data_option_does_something(tmp_path):
    usual = make_settings("span", "identity", "smoke", 0).data
    others = {"span": 5, "num_slots": 8, "num_classes": 8, "length": 60, "train_size": 9,
              "validation_size": 9, "test_size": 9, "seed": 1}  # fmt: skip
    assert usual.keys() == others.keys()
    before = digest(usual, tmp_path)
    for name, value in others.items():
        assert digest({**usual, name: value}, tmp_path) != before, name


def digest(options, root):
    task = make_task("span", options)
    return open_store(prepared(root, task, "generate", None)).provenance().sha256


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attention", "overrides", "learns"),
    [
        ("softmax", (), True),
        ("local", ("attention.block_size=33",), True),
        ("local", ("attention.block_size=16",), False),
        ("identity", (), False),
    ],
)
def test_what_mini_learns(attention, overrides, learns, cli, tmp_path):
    from common import read_record

    run = ("run", "--task", "span", "--preset", "mini", "--attention", attention)
    options = [part for each in overrides for part in ("--set", each)]
    assert cli(*run, *options, "--out", tmp_path / "run", "--data-dir", tmp_path / "data")[0] == 0
    accuracy = read_record(tmp_path / "run/record.json")["test"]["accuracy"]
    assert accuracy > 0.95 if learns else accuracy < 0.25 + 4 * (0.25 * 0.75 / 1_000) ** 0.5
