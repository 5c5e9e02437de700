"""--track: trackers get the lines of metrics.jsonl, and a run does not depend on them."""

import csv
import sys

import pytest
from common import SMOKE, refused

from lra_bench.config import make_settings
from lra_bench.records.metrics import Metrics, Saved, read
from lra_bench.training import tracking

SETTINGS = make_settings("listops", "linear", "smoke", 0)
LINES = [
    (4, "train", 2.3, 0.1, 0.5),
    (8, "train", 2.0, 0.2, None),
    (8, "validation", 2.1, 0.3, 0.1),
]


def follow(folder, names, lines=LINES, saved=None):
    """Write lines of a run whose metrics are tracked."""
    folder.mkdir(exist_ok=True)
    metrics = Metrics(folder, saved or Saved(lines=""))
    with tracking.tracking(names, folder, SETTINGS) as metrics.follow:
        for line in lines:
            metrics.write(*line)
    metrics.close()


def test_csv_has_the_lines(tmp_path):
    follow(tmp_path / "run", ["csv"])
    with (tmp_path / "run/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["split"]) for row in rows] == [
        ("4", "train"), ("8", "train"), ("8", "validation")
    ]  # fmt: skip
    assert (rows[0]["loss"], rows[1]["seconds"]) == ("2.3", "")


def test_a_resumed_run_repeats_no_line(tmp_path):
    folder = tmp_path / "run"
    follow(folder, ["csv"], LINES[:1])
    text = (folder / "metrics.jsonl").read_text()
    follow(folder, ["csv"], LINES[1:], Saved(4, 4, text))
    assert (folder / "metrics.csv").read_text().count("4,train") == 1
    assert len((folder / "metrics.csv").read_text().splitlines()) == 4


def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs lra-bench[tensorboard]")
    follow(tmp_path / "run", ["tensorboard"])
    (file,) = (tmp_path / "run/tensorboard").iterdir()
    content = file.read_bytes()
    for name in (b"train/loss", b"train/accuracy", b"validation/loss", b"settings"):
        assert name in content


def test_trackio_gets_the_numbers(tmp_path, monkeypatch, capfd):
    trackio = pytest.importorskip("trackio", reason="needs lra-bench[trackio]")
    from trackio.sqlite_storage import SQLiteStorage

    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    assert trackio.__version__
    follow(tmp_path / "a run", ["trackio"])
    assert "left out" not in capfd.readouterr().err
    logged = SQLiteStorage.get_logs(tracking.PROJECT, "a run")
    assert [line["step"] for line in logged] == [4, 8, 8]
    assert logged[2]["validation/accuracy"] == 0.3


def test_a_tracker_that_fails_is_left_out(tmp_path, monkeypatch, capsys):
    class Broken:
        def __init__(self, folder, settings):
            pass

        def log(self, line):
            raise ConnectionError("no network")

    monkeypatch.setitem(tracking._OPEN, "wandb", Broken)
    follow(tmp_path / "run", ["wandb", "csv"])
    assert capsys.readouterr().err.splitlines() == [
        "lra-bench: --track wandb failed and is left out: ConnectionError: no network"
    ]
    assert len(read(tmp_path / "run/metrics.jsonl")) == 3
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 4


def test_a_tracker_that_is_not_installed(cli, monkeypatch):
    found = tracking.importlib.util.find_spec
    monkeypatch.setattr(
        tracking.importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name)
    )
    refused(cli(*SMOKE, "--track", "csv,wandb"), 2, "pip install 'lra-bench[wandb]'")
    refused(cli("sweep", "--out", "x", "--track", "wandb"), 2, "pip install 'lra-bench[wandb]'")
    refused(cli(*SMOKE, "--track", "tensorbord"), 2, "did you mean 'tensorboard'")


def test_none_is_imported_unless_asked_for(tmp_path):
    before = set(sys.modules)
    follow(tmp_path / "run", [])
    assert not {"tensorboardX", "trackio", "wandb"} & (set(sys.modules) - before)
