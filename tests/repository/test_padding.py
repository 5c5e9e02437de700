"""benchmarks/padding.py: what a mask hides moves nothing, what is read is seen."""

import importlib

import numpy as np
import pytest
from common import ROOT


@pytest.fixture
def padding(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("padding")


def average(x, seen):
    weights = np.exp(x @ x.swapaxes(1, 2) / 16) * seen
    return (weights / weights.sum(2, keepdims=True)) @ x


def masked(batch):
    return average(batch.x, batch.mask[:, None])


def unmasked(batch):
    return average(batch.x, 1)


def padded_length(batch):
    return masked(batch) / batch.mask.shape[1]


def normalised_over_the_batch(batch):
    return masked(batch) / np.abs(batch.k[batch.mask]).max()


def test_a_mask_that_hides_padding_moves_nothing(padding):
    moved = padding.measure(masked)
    assert max(moved.content, moved.amount, moved.mate) < 1e-14


@pytest.mark.parametrize(
    ("formula", "seen"),
    [
        (unmasked, {"content", "amount"}),
        (padded_length, {"amount"}),
        (normalised_over_the_batch, {"mate"}),
    ],
)
def test_what_is_read_is_seen(padding, formula, seen):
    moved = vars(padding.measure(formula))
    assert {name for name, change in moved.items() if change > 1e-3} == seen
    assert {name for name, change in moved.items() if change > 1e-14} == seen


def test_a_change_is_relative_to_the_largest_output(padding):
    """Without padding, outputs are twice as large; with 48 positions, two thirds."""
    by_length = padding.measure(lambda batch: np.full((2, 20, 1), 32 / batch.mask.shape[1]))
    assert by_length == padding.Moved(content=0, amount=pytest.approx(0.6), mate=0)


def test_what_the_rows_say_is_what_was_measured(padding):
    """Reading content moves outputs; what is masked or zeroed throughout has content 0."""
    for formula in padding.formulas():
        moved, said = padding.measure(formula), padding.facts(formula)
        first = said["Padding"].partition(":")[0]
        reads = first == "read" or formula.__name__ in ("google_routing", "h_transformer")
        assert (moved.content > 1e-9) == reads, formula.__name__
        assert (moved.mate > 1e-9) == (not said["Mates"].startswith("not seen")), formula.__name__


def test_each_row_has_its_source(padding):
    rows = padding.table().splitlines()[2:]
    names = [formula.__name__ for formula in padding.formulas()]
    assert len(rows) == len(names) == len(set(names)) >= 25
    for row, formula in zip(rows, padding.formulas(), strict=True):
        for place in padding.sources(formula):
            assert place.repository in row
            assert place.commit in row
            assert place.path in row
            assert place.where in row


def test_a_formula_without_a_source_is_refused(padding):
    def unsourced(batch):
        """Return it.

        Mechanism: none
        Padding: read
        Mates: not seen
        Source:
            somewhere:1-2
        """

    with pytest.raises(ValueError, match="unsourced: a source is not"):
        padding.sources(unsourced)
