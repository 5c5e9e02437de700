"""Checkpoints that aren't as they were written: seen, put aside, said, and made again."""

import os
import shutil
from pathlib import Path

import pytest
from common import read_record
from runs import arguments, assert_equal_runs, lines

from lra_bench.records import metrics, record


@pytest.fixture
def unfinished(undisturbed, tmp_path):
    """A run without its record, whose checkpoints may be damaged."""
    out = shutil.copytree(undisturbed("linear"), tmp_path / "run")
    (out / record.FILE).unlink()
    return out


def checkpoints(out):
    """The folders of the checkpoints, the oldest first."""
    found = [x for x in (out / "checkpoints").iterdir() if x.name.isdigit()]
    return sorted(found, key=lambda place: int(place.name))


def flip(file):
    """Turn one bit around, in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def remove(file):
    file.unlink()


def empty(file):
    """Leave nothing in the folder of the checkpoint."""
    (folder,) = (place for place in file.parents if place.name.isdigit())
    shutil.rmtree(folder)
    folder.mkdir()


def files(place):
    return sorted(x for x in place.rglob("*") if x.is_file() and x.stat().st_size)


def resumed(cli, out):
    status, printed, err = cli(*arguments(out, "linear"), "--resume")
    assert status == 0, printed + err
    assert err == ""
    return printed


# The others are seen in each file below; what follows is the same.
OTHERS = (truncate, remove, empty)


@pytest.mark.parametrize(
    "damage", [flip, *(pytest.param(damage, marks=pytest.mark.slow) for damage in OTHERS)]
)
def test_the_one_before_takes_over(cli, undisturbed, unfinished, damage):
    *_, before, last = checkpoints(unfinished)
    damage(max(files(last), key=lambda file: file.stat().st_size))
    printed = resumed(cli, unfinished)
    assert f"the checkpoint of step {last.name} is damaged and was put aside\n" in printed
    assert f"going on from step {before.name}" in printed
    assert_equal_runs(unfinished, undisturbed("linear"))


def test_damage_of_any_file_is_seen(unfinished):
    from lra_bench.training.checkpoint_format import is_whole

    last = checkpoints(unfinished)[-1]
    assert is_whole(last)
    assert len(files(last)) > 5
    for file in files(last):
        whole = file.read_bytes()
        for damage in (flip, truncate, remove):
            damage(file)
            assert not is_whole(last), (file, damage)
            file.write_bytes(whole)
    assert is_whole(last)
    (last / "more").write_text("")
    assert not is_whole(last)
    empty(last / "more")
    assert not is_whole(last)


def test_the_first_is_damaged(cli, undisturbed, unfinished):
    """Those after it may owe it something: the run starts again."""
    first, *later = checkpoints(unfinished)
    flip(files(first)[0])
    printed = resumed(cli, unfinished)
    also = ", ".join(place.name for place in later)
    assert (
        f"the checkpoint of step {first.name} is damaged and was put aside, with those of {also}; "
        "none is before it, so the run starts again\n"
    ) in printed
    assert "going on from" not in printed
    assert_equal_runs(unfinished, undisturbed("linear"))


@pytest.mark.slow
def test_all_are_damaged(cli, undisturbed, unfinished):
    for place in checkpoints(unfinished):
        truncate(files(place)[-1])
    assert "so the run starts again\n" in resumed(cli, unfinished)
    assert_equal_runs(unfinished, undisturbed("linear"))


def test_killed_while_they_are_put_aside(unfinished, monkeypatch):
    """The damaged one goes last: one after it, left alone, would be gone on from."""
    from lra_bench.training.checkpoint import Checkpoints

    damaged, last = checkpoints(unfinished)[-2:]
    flip(files(damaged)[0])

    rename, renamed = Path.rename, []

    def once(path, target):
        if renamed:
            raise KeyboardInterrupt
        renamed.append(path)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", once)
        with pytest.raises(KeyboardInterrupt):
            Checkpoints(unfinished / "checkpoints")
    assert damaged in checkpoints(unfinished)
    assert last not in checkpoints(unfinished)


def test_no_temporary_file_stays_in_what_is_put_aside(unfinished):
    """Neither of a save that was killed now, nor of one that an older version put aside."""
    from lra_bench.training.checkpoint import Checkpoints

    last = checkpoints(unfinished)[-1]
    (last / "checksums.json").rename(last / ".checksums.json.12.tmp")
    older = last.parent / "aside-1"
    older.mkdir()
    (older / ".checksums.json.7.tmp").write_text("{")
    Checkpoints(unfinished / "checkpoints").close()
    assert (last.parent / f"aside-{last.name}").is_dir()
    assert not list(unfinished.rglob("*.tmp"))


NO_LINES = ("{}\n", "", "\0\0\0\n", "[1]\n", "\xff\n")


def test_what_is_no_line_of_metrics(tmp_path):
    file = tmp_path / metrics.FILE
    for content in NO_LINES:
        file.write_text(content, encoding="latin-1")
        assert metrics.read(file) == []


@pytest.mark.parametrize(
    "content", [NO_LINES[0], *(pytest.param(x, marks=pytest.mark.slow) for x in NO_LINES[1:])]
)
def test_metrics_are_lost(cli, unfinished, content):
    """What was measured can't be had again without the run: it isn't called a success."""
    (unfinished / "metrics.jsonl").write_text(content, encoding="latin-1")
    status, printed, err = cli(*arguments(unfinished, "linear"), "--resume")
    assert status == 1
    assert "metrics.jsonl has lost the line of step" in printed
    assert "Traceback" not in printed + err
    assert read_record(unfinished / record.FILE)["status"] == "failed"
    assert [line["split"] for line in lines(unfinished)] == ["test"]
