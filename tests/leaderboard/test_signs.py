"""benchmarks/significance.py: how often tables of equal mechanisms have a sign."""

import importlib

import numpy as np
import pytest
from common import ROOT


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("significance")


@pytest.mark.parametrize("seeds", [3, 5])
def test_few_tables_of_equal_mechanisms_have_a_wrong_sign(simulation, seeds):
    """At most 6 % of 500 tables of seven mechanisms on five tasks; without correction 15 %."""
    case = simulation.Case(seeds, 1.0, 10_000)
    shares = simulation.wrong(case, 500, np.random.default_rng(0))
    assert shares.pop("best, two lead, uncorrected") > 15
    assert max(shares.values()) <= 6, shares


def test_seeds_are_worth_more_than_examples(simulation):
    few, many = (
        simulation.found(simulation.Case(seeds, 1.0, 10_000), 100, np.random.default_rng(0))
        for seeds in (3, 10)
    )
    assert few["identity +5"] < 30
    assert many["identity +5"] > 90
    assert many["best +5"] > 90


def test_single_answers_agree(simulation):
    """The shortcut of normal sums and the records' own test of answers, within their noise."""
    case, rng = simulation.Case(3, 1.0, 2_000), np.random.default_rng(0)
    shortcut = simulation.wrong(case, 500, rng)["one pair"]
    assert abs(simulation.by_answers(case, 400, rng) - shortcut) < 2
