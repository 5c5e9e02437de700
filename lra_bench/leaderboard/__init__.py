"""Records of runs compiled into tables of accuracy."""

from lra_bench.leaderboard.comparable import by_setting, departures, device_of
from lra_bench.leaderboard.results import Cell, Record, attention_label, cells
from lra_bench.leaderboard.tables import render
from lra_bench.records.find import collect, find, readable

__all__ = [
    "Cell",
    "Record",
    "attention_label",
    "by_setting",
    "cells",
    "collect",
    "departures",
    "device_of",
    "find",
    "readable",
    "render",
]
