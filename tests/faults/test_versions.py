"""A run's folder that another version of lra-bench wrote: one clear line, and nothing is lost."""

import json
import shutil

import pytest
from common import read_record, unsealed
from runs import arguments

from lra_bench.records import record
from lra_bench.training.checkpoint import Checkpoints
from lra_bench.training.checkpoint_format import CHECKSUMS, write_checksums

pytestmark = pytest.mark.ci


@pytest.fixture
def folder(undisturbed, tmp_path):
    return shutil.copytree(undisturbed(), tmp_path / "run")


def contents(folder):
    return {str(x): x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def change(file, **changes):
    """Set keys of a JSON file, "train.new" of the group; None takes one away."""
    found = unsealed(file)
    for name, value in changes.items():
        group, _, key = name.rpartition(".")
        place = found[group] if group else found
        place.pop(key, None)
        if value is not None:
            place[key] = value
    file.write_text(json.dumps(found))


def refused(result, status, words):
    found, out, err = result
    assert found == status
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out + err
    assert words in err


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.momentum": 0.5}, "train.momentum is 0.5 there, missing here"),
        ({"train.clip_norm": None}, "train.clip_norm is missing there, 1.0 here"),
        ({"optimizer": "sgd"}, 'optimizer is "sgd" there, missing here'),
        ({"model": None}, "another version of lra-bench: model is missing there"),
    ],
)
def test_config(cli, folder, changes, words, finished):
    if not finished:
        (folder / record.FILE).unlink()
    change(folder / "config.json", **changes)
    before = contents(folder)
    result = cli(*arguments(folder), "--resume")
    refused(result, 2, words)
    refused(result, 2, "holds a run of another version of lra-bench: ")
    refused(cli(*arguments(folder / "other"), "--init-from", folder), 1, "config.json")
    assert contents(folder) == before


@pytest.mark.parametrize("finished", [True, False])
def test_config_from_before_the_bits_of_dropout_were_a_setting(cli, folder, finished):
    """Its steps were rounded otherwise, so the run can't go on; its weights are of use."""
    if not finished:
        (folder / record.FILE).unlink()
    change(folder / "config.json", **{"model.dropout_bits": None})
    before = contents(folder)
    words = 'another version of lra-bench: model.dropout_bits is missing there, "threefry" here'
    refused(cli(*arguments(folder), "--resume"), 2, words)
    status, out, err = cli(*arguments(folder / "../other"), "--init-from", folder)
    assert (status, err) == (0, "")
    assert "of another setting" not in out
    assert contents(folder) == before


@pytest.mark.parametrize("content", ["", "[]", "{", "\0", "[" * 100_000])
def test_config_unreadable(cli, folder, content):
    (folder / "config.json").write_text(content)
    before = contents(folder)
    refused(cli(*arguments(folder), "--resume"), 1, "config.json can't be read; choose another")
    assert contents(folder) == before


def test_record(cli, folder):
    change(folder / record.FILE, schema=99)
    before = contents(folder)
    refused(cli(*arguments(folder), "--resume"), 1, "record.json: schema 99, this version reads 1")
    assert contents(folder) == before


@pytest.mark.slow
def test_checkpoints_of_another_structure(cli, folder):
    """Whole, but not of this version's parameters; as if it had a layer more."""
    (folder / record.FILE).unlink()
    before = contents(folder / "checkpoints")
    more = arguments(folder, **{"model.num_layers": 2})
    change(folder / "config.json", **{"model.num_layers": 2})
    status, out, err = cli(*more, "--resume")
    assert status == 1
    assert "failed: checkpoint" in out
    assert "is of another model: " in out
    assert "Traceback" not in out + err
    assert contents(folder / "checkpoints") == before
    assert not (folder / "error.log").exists()


def test_checkpoints_of_another_library(cli, folder):
    """Whole, but nothing that this version's library knows."""
    (folder / record.FILE).unlink()
    for place in (folder / "checkpoints").iterdir():
        shutil.rmtree(place / "default")
        (place / "default").mkdir()
        (place / "default/tree.bin").write_bytes(b"other")
        write_checksums(place)
    before = contents(folder / "checkpoints")
    status, out, err = cli(*arguments(folder), "--resume")
    assert status == 1
    assert "can't be read by this version of orbax" in out
    assert "Traceback" not in out + err
    assert contents(folder / "checkpoints") == before
    assert read_record(folder / record.FILE)["status"] == "failed"


def test_versions_before_checksums_existed(folder):
    """They are put aside, not deleted."""
    for place in list((folder / "checkpoints").iterdir()):
        (place / CHECKSUMS).unlink()
    before = sorted(contents(folder / "checkpoints").values())
    checkpoints = Checkpoints(folder / "checkpoints")
    assert checkpoints.latest() is None
    checkpoints.close()
    assert sorted(contents(folder / "checkpoints").values()) == before
