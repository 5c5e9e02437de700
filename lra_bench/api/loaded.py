"""A trained run, read back from its folder."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from lra_bench.analysis.matrix import layer_matrices, real_tokens
from lra_bench.contracts import Task
from lra_bench.data.location import data_root, locate
from lra_bench.data.obtain import load_data
from lra_bench.display.progress import Display
from lra_bench.errors import UsageError, unknown
from lra_bench.model.build import Model
from lra_bench.settings import RunSettings
from lra_bench.training.restore import load_model


@dataclass(frozen=True)
class LoadedRun:
    """A run at its best checkpoint.

    Attributes:
        model: the trained model, an `nnx.Module`: `model(tokens)` returns logits (b classes), or
            (b l v) if it predicts tokens; tokens are ids (b l), or (b 2 l) of two documents.
        settings: of the run.
        task: its task, which names classes and turns tokens into text.
    """

    model: Model
    settings: RunSettings
    task: Task

    def examples(
        self, split: str = "test", count: int = 8, data_dir: str | os.PathLike[str] | None = None
    ) -> tuple[Int[np.ndarray, "b *two l"], Int[np.ndarray, " b"]]:
        """Return tokens and labels of the first examples of a split of the run's data.

        Args:
            split: "train", "validation" or "test".
            count: number of examples, from 1 on; fewer if the split has fewer.
            data_dir: folder of all data; default: $LRA_BENCH_DATA, else ~/.cache/lra_bench.

        Raises:
            UsageError: the count is below 1, or the data are not there and cannot be made, or have
                no such split.
        """
        if count < 1:
            raise UsageError(f"count={count}: must be a whole number from 1 on")
        root = data_root(None if data_dir is None else Path(data_dir))
        location = locate(root, self.task, self.settings.data_source)
        store = load_data(self.task, location, Display(quiet=True))
        if split not in store.splits:
            raise unknown("split", split, list(store.splits))
        part = store.splits[split]
        pairs = [part.example(index) for index in range(min(count, len(part)))]
        return np.stack([tokens for tokens, _ in pairs]), np.array([label for _, label in pairs])

    def attention_matrices(
        self, tokens: Int[np.ndarray, "*two l"], length: int = 256
    ) -> list[Float[np.ndarray, "h l l"]]:
        """Return the attention matrices of one example: for each layer an array (h l l).

        A row holds the weights with which a token reads all tokens. Padding is left out. With
        `model.pooling=cls` the first row and column are of CLS, and l is one more. A mixer has one
        matrix a layer, of the influences among tokens.

        Args:
            tokens: ids of one example (l), or of two documents (2 l), of which the first counts.
            length: the largest number of tokens, besides CLS.

        Raises:
            UsageError: tokens are no single example, or there is padding before real tokens.
        """
        real = real_tokens(self.task, np.asarray(tokens), length)
        return layer_matrices(self.model.encoder, real)


def load(run_dir: str | os.PathLike[str]) -> LoadedRun:
    """Return the model, the settings and the task of a run, at its best checkpoint.

    The code of a run with an attention or a task of one's own is the copy in the folder of the run:
    load no folder from people whose code you would not run.

    Args:
        run_dir: the folder of a run, or of one of its checkpoints.

    Raises:
        UsageError: the folder holds no run, or nothing is saved in it yet.
        RunError: its contents are damaged, or of another version.
    """
    folder = Path(run_dir).expanduser()
    if not str(run_dir):
        raise UsageError("load needs the folder of a run")
    settings, task, model = load_model(folder)
    return LoadedRun(model, settings, task)
