"""Checkpoints that aren't as they were written: seen, put aside, said, and made again."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from common import read_record
from hostile import no_hang
from runs import arguments, assert_equal_runs, lines

from lra_bench.records import metrics, record
from lra_bench.training import checkpoint_format
from lra_bench.training.checkpoint_format import LINES, write_checksums

pytestmark = pytest.mark.ci


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


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    """Names that are no step, and a list of checksums that is a pipe or that nothing can read."""
    names = ("²", "٣", "007", "-1", "1e3", "aside-2", "5")
    for name in names:
        (tmp_path / name).mkdir()
    assert checkpoint_format.steps(tmp_path) == [5]
    assert checkpoint_format.steps(tmp_path / "none") == []
    listed = tmp_path / "5" / checkpoint_format.CHECKSUMS
    for content in ("[" * 100_000, '{"a": "' + "\\ud800" + '"}'):
        listed.write_text(content)
        assert not checkpoint_format.is_whole(tmp_path / "5")
    listed.unlink()
    os.mkfifo(listed)
    with no_hang():
        assert not checkpoint_format.is_whole(tmp_path / "5")


def test_a_checkpoint_with_64_bits_is_not_converted():
    """A run of an old version under JAX_ENABLE_X64 would go on with other numbers."""
    there = {"a": np.zeros(3, np.float64), "b": np.zeros((2, 3), np.float32)}
    here = {"a": np.zeros(3, np.float32), "b": np.zeros((3, 2), np.float32)}
    found = list(checkpoint_format.array_differences(there, here))
    assert found == ["a is float64 there, float32 here", "b is (2, 3) there, (3, 2) here"]
    assert list(checkpoint_format.array_differences(there, there)) == []


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
def test_metrics_are_lost(cli, undisturbed, unfinished, content):
    """The latest checkpoint has the lines too."""
    file = unfinished / metrics.FILE
    file.write_text(content, encoding="latin-1")
    status, printed, err = cli(*arguments(unfinished, "linear"), "--resume")
    assert status == 0, printed + err
    assert err == (
        f"lra-bench: {file} had damaged or missing lines (train at step 4, validation at step 7, "
        "train at step 8 and 11 more); restored from the latest checkpoint\n"
    )
    assert_equal_runs(unfinished, undisturbed("linear"))


def damaged(file, change):
    """Damage the validation line of the best step, or one that `change` makes of it."""
    texts = file.read_text().splitlines(keepends=True)
    (number,) = (n for n, text in enumerate(texts) if '"step": 14, "split": "validation"' in text)
    texts[number] = change(texts[number])
    file.write_text("".join(texts))


DAMAGES = {
    "a digit": lambda text: re.sub(r'"accuracy": 0', '"accuracy": 0.9', text, count=1),
    "a bit": lambda text: text[:9] + chr(ord(text[9]) ^ 1) + text[10:],
    "cut": lambda text: text[:20] + "\n",
    "missing": lambda text: "",
    "twice": lambda text: text * 2,
    "its checksum is of another line": lambda text: re.sub('"crc32": ".', '"crc32": "x', text),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_line_is_restored(tmp_path, name):
    """Every line of the file is that of the checkpoint again, and it is said in one sentence."""
    folder, text = tmp_path, whole_lines(range(7, 36, 7))
    (folder / metrics.FILE).write_text(text)
    damaged(folder / metrics.FILE, DAMAGES[name])
    assert (folder / metrics.FILE).read_text() != text
    lines = metrics.Metrics(folder, metrics.Saved(35, 35, text))
    lines.close()
    assert lines.restored.endswith("restored from the latest checkpoint")
    assert ("\n" in lines.restored) is False
    assert (folder / metrics.FILE).read_text() == lines.text == text


def whole_lines(steps, seconds=0.5):
    """The text of the lines of a run that logs and validates at these steps."""
    return "".join(
        metrics.MetricsLine(step, split, 1.0, 0.5, seconds).as_text()
        for step in steps
        for split in ("train", "validation")
    )


def test_lines_after_a_damaged_one_are_kept(tmp_path):
    file = tmp_path / metrics.FILE
    file.write_text(whole_lines(range(7, 36, 7)))
    damaged(file, DAMAGES["a bit"])
    lines, count = metrics.read_counting(file)
    assert (len(lines), count) == (9, 1)
    assert lines[-1].step == 35


def test_a_line_without_the_checksum_that_others_have_is_damaged(tmp_path):
    file = tmp_path / metrics.FILE
    lines = whole_lines([7, 14]).splitlines(keepends=True)
    bare = [re.sub(', "crc32": "[0-9a-f]{8}"', "", line) for line in lines]
    for number, line in enumerate(bare):
        file.write_text("".join([*lines[:number], line, *lines[number + 1 :]]))
        assert metrics.read_counting(file)[1] == 1
    file.write_text("".join(bare))  # of an old version
    assert metrics.read_counting(file)[1] == 0


def test_a_line_that_was_cut_off_is_no_damage(tmp_path):
    file = tmp_path / metrics.FILE
    file.write_text(whole_lines([7, 14])[:-20])
    assert metrics.read_counting(file)[1] == 0
    file.write_text(whole_lines([7, 14])[:-1])  # only the end of the line is missing
    assert [len(lines) for lines in [metrics.read(file)]] == [4]


def test_a_rate_never_counts_a_gap():
    """Where a training line is lost, the next one's time is of fewer steps than the difference."""
    lines, _ = metrics.parse(whole_lines(range(4, 41, 4)))
    assert metrics.steps_per_second(lines, 4) == 8.0
    for lost in range(0, len(lines), 2):
        rest = [line for number, line in enumerate(lines) if number != lost]
        assert metrics.steps_per_second(rest, 4) == 8.0
    every_second = [line for line in lines if line.step % 8 == 0]
    assert metrics.steps_per_second(every_second, 4) is None


def test_old_lines_and_checkpoints_without_lines(tmp_path):
    """Lines without checksums load, unless a checkpoint has another accuracy for their step."""
    file = tmp_path / metrics.FILE
    old = [{"step": 7, "split": split, "loss": 1.0, "accuracy": 0.75, "seconds": 0.5}
           for split in ("train", "validation")]  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in old))
    for accuracy, kept in ((0.75, 2), (0.5, 1)):
        saved = metrics.Saved(7, 7, None, {7: accuracy})
        opened = metrics.Metrics(tmp_path, saved)
        opened.close()
        assert len(metrics.read(file)) == kept
        assert ("damaged" in opened.restored) is (kept == 1)


def test_a_changed_digit_never_reaches_the_record(cli, undisturbed, unfinished):
    """A run of an old version: neither lines nor checkpoints have what this version adds."""
    file = unfinished / metrics.FILE
    values = [{**line, "seconds": 0.5} for line in lines(unfinished) if line["split"] != "test"]
    best = read_record(undisturbed("linear") / record.FILE)["best_step"]
    for line in values:
        if (line["split"], line["step"]) == ("validation", best):
            line["accuracy"] = 0.987
    file.write_text("".join(json.dumps(line) + "\n" for line in values))
    for place in checkpoints(unfinished):
        (place / LINES).unlink()
        write_checksums(place)
    status, printed, err = cli(*arguments(unfinished, "linear"), "--resume")
    assert status == 0, printed + err
    assert err == (
        f"lra-bench: {file}: 1 line is damaged and left out; "
        "the latest checkpoint holds no copy of them\n"
    )
    expected = read_record(undisturbed("linear") / record.FILE)
    got = read_record(unfinished / record.FILE)
    assert [got[key] for key in ("validation", "test")] == [
        expected[key] for key in ("validation", "test")
    ]
