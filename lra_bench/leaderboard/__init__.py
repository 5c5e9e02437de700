"""Records of runs compiled into tables of accuracy."""

from lra_bench.leaderboard.cells import Cell, Record, attention_label, cells
from lra_bench.leaderboard.gather import collect, find, readable
from lra_bench.leaderboard.setting import by_setting, departures, device_of
from lra_bench.leaderboard.tables import render

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
