"""Pass the metrics of a run on to trackers, each imported only if it is asked for."""

import contextlib
import csv
import hashlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from lra_bench.display.busy import say
from lra_bench.display.escape import terminal
from lra_bench.errors import UsageError, one_line
from lra_bench.records.metrics import FILE as METRICS
from lra_bench.records.metrics import MetricsLine, read
from lra_bench.settings import RunSettings

PROJECT = "lra-bench"
# The module of each tracker, which the extra of the same name installs; "" for none.
TRACKERS = {"tensorboard": "tensorboardX", "trackio": "trackio", "wandb": "wandb", "csv": ""}
_CSV, _TENSORBOARD = "metrics.csv", "tensorboard"
_FIELDS = ("loss", "accuracy", "seconds")


class Tracker(Protocol):
    """Keeps the metrics of one run in some other place."""

    def log(self, line: MetricsLine) -> None:
        """Keep a line."""

    def close(self) -> None:
        """Write what is not written yet."""


def check(names: Sequence[str]) -> None:
    """Check that what trackers need is installed; nothing is imported.

    Raises:
        UsageError: something is not.
    """
    for name in names:
        module = TRACKERS[name]
        if module and importlib.util.find_spec(module) is None:
            raise UsageError(f"--track {name} needs {module}: pip install 'lra-bench[{name}]'")


@contextlib.contextmanager
def tracking(
    names: Sequence[str], folder: Path, settings: RunSettings
) -> Iterator[Callable[[MetricsLine], None]]:
    """Yield a function that passes a line on to these trackers.

    A tracker that fails, such as one without a network, is left out from then on: the run and its
    own files do not depend on it.
    """
    trackers: dict[str, Tracker] = {}

    def tried(name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            trackers.pop(name, None)
            text = f"--track {name} failed and is left out: {terminal(one_line(error))}"
            say(f"lra-bench: {text}", stream=sys.stderr)
            return None

    def log(line: MetricsLine) -> None:
        for name, tracker in list(trackers.items()):
            tried(name, lambda tracker=tracker: tracker.log(line))

    for name in names:
        opened = tried(name, lambda name=name: _OPEN[name](folder, settings))
        if opened is not None:
            trackers[name] = opened
    try:
        yield log
    finally:
        for name, tracker in list(trackers.items()):
            tried(name, tracker.close)


class _Csv:
    """A CSV file in the folder of the run, with the lines of metrics.jsonl."""

    def __init__(self, folder: Path, settings: RunSettings) -> None:
        del settings
        self._file = (folder / _CSV).open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(("step", "split", *_FIELDS))
        for line in read(folder / METRICS):
            self.log(line)

    def log(self, line: MetricsLine) -> None:
        self._writer.writerow((line.step, line.split, *(getattr(line, name) for name in _FIELDS)))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _TensorBoard:
    """Events in the folder of the run, for `tensorboard --logdir`."""

    def __init__(self, folder: Path, settings: RunSettings) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-not-found]

        lines = read(folder / METRICS)
        after = max((line.step for line in lines), default=-1) + 1
        self._writer = SummaryWriter(str(folder / _TENSORBOARD), purge_step=after)
        self._writer.add_text("settings", str(settings.as_dict()))

    def log(self, line: MetricsLine) -> None:
        for name, value in _values(line).items():
            self._writer.add_scalar(name, value, line.step)

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    """A run of Trackio, on this machine: `trackio show` shows it."""

    def __init__(self, folder: Path, settings: RunSettings) -> None:
        import trackio  # type: ignore[import-not-found]

        with contextlib.redirect_stdout(io.StringIO()):  # it greets
            self._run = trackio.init(
                PROJECT,
                name=_name(folder),
                config=settings.as_dict(),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, line: MetricsLine) -> None:
        self._run.log(_values(line), step=line.step)

    def close(self) -> None:
        import trackio  # type: ignore[import-not-found]

        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()


class _Wandb:
    """A run of Weights & Biases; WANDB_MODE=offline keeps it in the folder of the run."""

    def __init__(self, folder: Path, settings: RunSettings) -> None:
        import wandb  # type: ignore[import-not-found]

        self._run = wandb.init(
            project=PROJECT,
            name=_name(folder),
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            resume="allow",
            dir=str(folder),
            config=settings.as_dict(),
        )

    def log(self, line: MetricsLine) -> None:
        self._run.log(_values(line), step=line.step)

    def close(self) -> None:
        self._run.finish()


def _name(folder: Path) -> str:
    return folder.resolve().name


def _values(line: MetricsLine) -> dict[str, float]:
    """Return the numbers of a line, named as in "train/loss"."""
    numbers = {name: getattr(line, name) for name in _FIELDS}
    return {f"{line.split}/{name}": x for name, x in numbers.items() if x is not None}


_OPEN: dict[str, Callable[[Path, RunSettings], Tracker]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _Wandb,
    "csv": _Csv,
}
