"""Draw a contact sheet: examples of an image task with the names of their classes."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lra_bench.contracts import Task
from lra_bench.data.store import Split

_COLUMNS = 8


def contact_sheet(task: Task, split: Split, count: int, path: Path, title: str) -> None:
    """Draw `count` evenly spaced examples of a split, each under the name of its class."""
    assert task.side is not None
    chosen = split.spread(count)
    rows = math.ceil(len(chosen) / _COLUMNS)
    figure = Figure(figsize=(1.25 * _COLUMNS, 1.45 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, axes in zip(chosen, grid.flat, strict=False):
        tokens, label = split.example(index)
        pixels = np.reshape(tokens, (task.side, task.side, -1))
        # An image of one value a pixel is drawn in grey, one of three in colour.
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=task.vocab_size - 1)
        axes.set_title(task.class_names[label], fontsize=9)
    figure.savefig(path, dpi=150)
