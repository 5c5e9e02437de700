"""Folders of any kind below a results folder: what cannot be read is named once, the rest shown."""

import json
import os
from pathlib import Path

import pytest
from hostile import check_messages, no_hang
from leaderboard_cases import make

from lra_bench.files.json_files import with_checksum
from lra_bench.files.regular import MOST_BYTES
from lra_bench.records import metrics, record
from lra_bench.records.find import files_below, leave_out, naming
from lra_bench.report import build

COMMANDS = {
    "table": ("table",),
    "efficiency": ("table", "--kind", "efficiency"),
    "report": ("report", "--out", "page"),
    "submit-check": ("submit-check",),
}


def write(folder, values, name=record.FILE):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(values))


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "results/good", make())
    return tmp_path / "results"


@pytest.mark.ci
def test_1_200_folders_in_each_other(cli, results):
    """The deepest are beyond the longest path that the system opens; Python's own walk recurses."""
    depth, before = 1_200, Path.cwd()
    os.chdir(results)
    for _ in range(depth):
        Path("nested").mkdir()
        os.chdir("nested")
    try:
        Path(record.FILE).write_text(json.dumps(make(seed=1)))
    finally:
        os.chdir(before)
    status, out, err = cli("table", results)
    assert status == 0
    assert "softmax" in out
    check_messages(err)
    assert len(err.splitlines()) == 1
    assert "too long a name" in err
    _remove_nested(results, depth, before)


def _remove_nested(results, depth, before):
    os.chdir(results)
    for _ in range(depth):
        os.chdir("nested")
    Path(record.FILE).unlink()
    for _ in range(depth):
        os.chdir("..")
        Path("nested").rmdir()
    os.chdir(before)


def test_names_that_are_not_utf_8_or_forge_lines(cli, results):
    names = (b"caf\xe9", b"x\nlra-bench: forged", b"\x1b[2J", b"=1+1", b"<script>alert(1)", b"a|b")
    for seed, name in enumerate(names, 1):
        folder = results / os.fsdecode(name)
        folder.mkdir()
        (folder / record.FILE).write_text(json.dumps(make(seed=seed)) if seed % 2 else "{")
    for command in (COMMANDS["table"], COMMANDS["submit-check"], COMMANDS["report"]):
        _, out, err = cli(*command, results)
        check_messages(err)
        assert len(err.splitlines()) == 3
        assert "\nlra-bench: forged" not in out
    page = (results.parent / "page" / build.FILE).read_text()
    assert "<script>alert" not in page
    assert r"caf\udce9" in page


def special(path, kind):
    """Put something else than a file in a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(MOST_BYTES + 1)
    else:
        path.symlink_to(kind)


KINDS = ("pipe", "folder", "sparse", "/dev/zero", "/dev/null", "nowhere", "/proc/self/mem")
FILES = ("record.json", "efficiency.jsonl", "approximation.csv", "claims.csv", "metrics.jsonl")


@pytest.mark.ci
@pytest.mark.parametrize(
    "kind", [*KINDS[:2], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[2:])]
)
def test_a_report_beside_what_is_no_file(cli, results, kind):
    """Every file that a report reads, in the place of which stands something else."""
    for name in FILES:
        special(results / f"odd-{name}" / name, kind)
        if name == metrics.FILE:
            write(results / f"odd-{name}", make(seed=1))
        if name == "claims.csv":
            csv = "scale,variant,num_features,mse,sd,draws\n1,a,2,3,4,5\n1,a,4,2,4,5\n"
            (results / f"odd-{name}/approximation.csv").write_text(csv)
    with no_hang(120):
        status, _, err = cli(*COMMANDS["report"], results, "--strict")
    check_messages(err)
    assert status == 1
    for name in FILES:
        (said,) = [text for text in err.splitlines() if f"/odd-{name}/{name}" in text]
        assert said.startswith("lra-bench: left out: ")
    assert len(err.splitlines()) == len(FILES)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_strict(cli, results, command):
    """Status 1 when anything was left out, and the same output otherwise."""
    from efficiency_cases import line

    write(results, line(), "efficiency.jsonl")
    usual = 1 if command == COMMANDS["submit-check"] else 0
    assert cli(*command, results, "--strict")[::2] == (usual, "")
    write(results / "bad", {"schema": 1})
    with (results / "efficiency.jsonl").open("a") as file:
        file.write('\n{"schema": 1}\n')
    loose, strict = cli(*command, results), cli(*command, results, "--strict")
    assert (loose[0], strict[0]) == (usual, 1)
    assert loose[1:] == strict[1:]
    assert strict[2].count("left out") == (2 if command == COMMANDS["report"] else 1)


def test_nothing_is_named_twice(capsys):
    with naming() as named:
        for _ in range(3):
            leave_out("a")
        leave_out("b")
    assert list(named) == ["a", "b"]
    assert capsys.readouterr().err.count("left out") == 2


def test_links_in_circles(results):
    (results / "good/again").symlink_to(results)
    (results / "self").symlink_to("self")
    assert files_below([results], record.FILE) == [results / "good" / record.FILE]


def test_a_checksum_protects_every_value(tmp_path):
    """Any change of a value is seen; another indentation or order of the keys is none."""
    from junk import key_paths

    from lra_bench.errors import RunError

    sealed, path = with_checksum(record.parse(make()).as_dict()), tmp_path / record.FILE
    for text in (json.dumps(sealed), json.dumps(sealed, indent=7, sort_keys=True)):
        path.write_text(text)
        assert record.read(path).seed == 0
    for way in key_paths(sealed):
        changed = json.loads(json.dumps(sealed))
        place = changed
        for key in way[:-1]:
            place = place[key]
        place[way[-1]] = {"a": 1} if place[way[-1]] is None else None
        path.write_text(json.dumps(changed))
        with pytest.raises(RunError):
            record.read(path)
    path.write_text(json.dumps({**sealed, "seed": 1}))
    with pytest.raises(RunError, match="does not match its checksum: changed after it was written"):
        record.read(path)


def test_a_key_that_is_there_twice_is_refused(cli, results):
    """Readers differ in which of the two they take; the checksum is right for the second."""
    file = results / "good" / record.FILE
    text = json.dumps(with_checksum(make()))
    for twice in (
        text.replace('"test": {', '"test": {"accuracy": 0.99, '),
        text[:-1] + ', "seed": 0}',
    ):
        file.write_text(twice)
        status, _, err = cli("table", results)
        assert status == 2
        assert "an object has one key twice" in err
