"""Fifty wrong calls: each is one line on standard error that says what to do."""

import shlex

import pytest
from common import ROOT, refused

from lra_bench.cli import main

RECORDS = ROOT / "results/mini-cpu"
# A call, as typed, its exit status, and words of the remedy. For the words in braces see `places`.
CALLS = [
    # Commands and options.
    ("", 2, "lra-bench --help"),
    ("train", 2, "valid: run, sweep"),
    ("--task listops run", 2, "options follow it: lra-bench COMMAND --task"),
    ("run --tsak listops", 2, "did you mean '--task'"),
    ("run --lr 0.1", 2, "did you mean --set train.learning_rate=VALUE?"),
    ("run listops", 2, "each value follows the name of its option"),
    ("run --seed", 2, "expected one argument"),
    ("run --resume=yes", 2, "write --resume, or leave it out"),
    ("run --seed 0,1,2", 2, "lra-bench sweep does several seeds"),
    ("run -q -v", 2, "not allowed with argument -q/--quiet"),
    ("sweep --seeds 0 1 2 --out x", 2, "--seeds 0,1,2"),
    ("sweep --tasks listops", 2, "sweep needs --out DIR"),
    ("sweep --seeds 5-2 --out x", 2, "write 0,1,2 or 0-2"),
    ("sweep --time-limit soon --out x", 2, "such as 90, 90s, 30m"),
    ("sweep --memory-limit 16 --out x", 2, "such as 16GiB"),
    ("sweep --executor slrum --out x", 2, "valid: "),
    ("sweep --grid attention.num_features --out x", 2, "is not KEY=VALUE,VALUE"),
    ("sweep --filter nothing-like-this --tasks listops --out x", 2, "none of the"),
    # Names.
    ("run --task lisstops", 2, "did you mean 'listops'"),
    ("run --attention performer", 2, "lra-bench: unknown attention 'performer'; did you mean"),
    ("run --preset tiny", 2, "did you mean 'smoke'"),
    ("run --task pathx --preset mini", 2, "valid: smoke, small"),
    ("run --task text-lm --attention fnet --preset smoke", 2, "these can:"),
    # Settings.
    ("run --set train.num_stepz=3", 2, "did you mean 'train.num_steps'"),
    ("run --set num_steps=3", 2, "did you mean 'train.num_steps'"),
    ("run --set train.num_steps", 2, "must be key=value"),
    ("run --set train.num_steps=lots", 2, "must be a whole number from 1"),
    ("run --set train.schedule=cosin", 2, "did you mean 'cosine'"),
    ("run --set model.dropout=1.5", 2, "must be a number from 0 to 0.99"),
    ("run --set seed=3", 2, "is an argument of its own, --seed"),
    ("run --attention linear --set attention.num_features=8", 2, "its options: attention.causal"),
    ("run --set train.accumulate=3", 2, "does not divide train.batch_size=32"),
    ("run --set data.source=releese", 2, "valid: generate, release"),
    ("run --limit none", 2, "a whole number from 1"),
    ("run --config {yaml} --dry-run", 2, "did you mean 'train.num_steps'"),
    ("run --config {file}", 2, "must end in .yaml, .yml or .py"),
    # Paths and data.
    ("run --out {file}", 2, "is a file, not a folder"),
    ("run --out {run} --preset smoke", 2, "--resume to go on with it"),
    ("run --init-from {empty}", 2, "{empty}"),
    ("run --task retrieval", 2, "lra-bench data prepare retrieval --source PATH"),
    ("data prepare", 2, "TASK"),
    ("data prepare listops --source nowhere", 2, "valid: generate, PATH of"),
    ("data check listops", 2, "prepare them with lra-bench data prepare listops"),
    ("data remove listops", 2, "lra-bench data list says what is there"),
    # Records.
    ("table {empty}", 2, "no records in {empty}; lra-bench run and sweep write them"),
    ("table {results} --format pdf", 2, "valid: markdown, csv"),
    ("table {results} --compare softmax sofmax", 2, "did you mean 'softmax'"),
    ("report {results}", 2, "required: --out"),
    ("export {results}", 2, "--format parquet or csv"),
    ("list settings --task imbd", 2, "valid: image"),
]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """What the words in braces stand for: a file, a wrong config, a run, and an empty folder."""
    from lra_bench.config import make_settings
    from lra_bench.records.run_folder import RunFolder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRA_BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "file").write_text("")
    (tmp_path / "mine.yaml").write_text("train:\n  num_stepz: 3\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    RunFolder(tmp_path / "run").start(make_settings("listops", "performer-softmax", "smoke", 0))
    return {
        "results": RECORDS, "file": "file", "yaml": "mine.yaml", "run": "run", "empty": "empty"
    }  # fmt: skip


def test_they_are_fifty():
    assert len(CALLS) == len({call for call, *_ in CALLS}) == 50


@pytest.mark.parametrize(("call", "status", "remedy"), CALLS)
def test_a_wrong_call(capsys, places, tmp_path, call, status, remedy):
    before = sorted(tmp_path.rglob("*"))
    try:
        found = main(shlex.split(call.format(**places)))
    except SystemExit as ended:
        found = ended.code
    refused((found, *capsys.readouterr()), status, "lra-bench", remedy.format(**places))
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"
