"""Metadata of Pathfinder, as text or as .npy: anything wrong is a line that names the file."""

import contextlib
import os
import shutil

import layouts
import numpy as np
import pytest
from stores import prepared

from lra_bench.contracts import Reading
from lra_bench.errors import RunError
from lra_bench.tasks import _archive
from lra_bench.tasks._pathfinder import release
from lra_bench.tasks.listops import ListOps
from lra_bench.tasks.pathfinder import Pathfinder
from lra_bench.tasks.retrieval import Retrieval

IMAGES, LABELS = np.zeros((20, 32, 32), np.uint8), np.arange(20) % 2
ROW = ["imgs/0", "sample_0.png", "0", "1"]


@pytest.fixture
def folder(tmp_path):
    return layouts.pathfinder(tmp_path / "curv_contour_length_14", IMAGES, LABELS)


def header(text, data=b""):
    """Return a .npy file with this header."""
    packed = text.encode("latin1")
    return b"\x93NUMPY\x01\0" + len(packed).to_bytes(2, "little") + packed + data


def array(shape, descr="'<U20'", order=False):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")


HOSTILE = {
    "huge shape": (array("(99999999999, 9)"), "not the <U20 array of shape"),
    "negative shape": (array("(-3, -3)"), "not the <U20 array of shape"),
    "shape of 5,000 digits": (array("(1" + "0" * 5_000 + ", 4)"), "not a .npy file"),
    "no table": (array("(0,)"), "must be a table of texts"),
    "records": (array("(0, 4)", "[('a', '<i4')]"), "must be a table of texts"),
    "objects": (array("(0, 4)", "'|O'"), "allow_pickle=False"),
    "deep": (header("[" * 9_000), "not a .npy file"),
    "deep and closed": (header("{'descr': " + "(" * 4_000 + ")" * 4_000 + "}"), "not a .npy file"),
    "minus signs": (header("-" * 9_000 + "1"), "not a .npy file"),
    "not UTF-8": (header("\xff\xfe\xff"), "not a .npy file"),
    "of version 9": (b"\x93NUMPY\x09\0\x05\0abcde", "not a .npy file"),
    "cut off": (b"\x93NUMPY\x01", "not a .npy file"),
    "long header": (header("{" + " " * 60_000 + "}"), "not a .npy file"),
    "NUL in a name": (b"imgs/0 a\0b.png 0 1\n", "leads out of the folder"),
    "up": (b"imgs/../../x a.png 0 1\n", "leads out of the folder"),
    "absolute": (b"/etc passwd 0 1\n", "leads out of the folder"),
    "twice by a dot": (b"imgs/0 a.png 0 1\nimgs/./0 a.png 0 1\n", r"0\.npy:2: .* a second time"),
    "twice by a slash": (b"imgs/0 a.png 0 1\nimgs//0 a.png 0 1\n", "named a second time"),
    "not text": (b"\xff\xfe\n", "1 columns, must be at least 4"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_one_line(folder, kind):
    content, message = HOSTILE[kind]
    (folder / "metadata/0.npy").write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        Pathfinder().inputs("release", folder)
    assert "metadata/0.npy" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_good_tables_are_read(folder):
    files = release.metadata_files(folder)
    before = release.labels(files)
    for kind in ("U20", "S20"):
        for file in files:
            rows = [line.split() for line in file.read_text().splitlines()] if kind == "U20" else (
                np.load(file)
            )  # fmt: skip
            np.save(file, np.array(rows, kind))
        assert release.labels(files) == before


@pytest.mark.parametrize("name", ["metadata/0.npy", "imgs/0/sample_0.png"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "loop", "large"])
def test_what_is_no_file_is_never_opened(folder, name, kind):
    path = folder / name
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case _:
            path.touch()
            os.truncate(path, 2**40)
    with pytest.raises(RunError, match=name.replace(".", r"\.")):
        Pathfinder().inputs("release", folder)


def test_a_folder_that_is_named_twice(folder):
    """imgs/1 leads to imgs/0, and its metadata name the same images again."""
    shutil.rmtree(folder / "imgs/1")
    (folder / "imgs/1").symlink_to("0")
    with pytest.raises(RunError, match=r"imgs/\d and imgs/\d are the same folder, named twice"):
        Pathfinder().inputs("release", folder)


def test_a_copy_of_the_tree_counts_once(folder):
    shutil.copytree(folder, folder / "pathfinder32/curv_contour_length_14")
    blocks = Pathfinder().read(Reading("release", folder, folder))
    assert sum(len(labels) for _, _, labels in blocks) == 20


@pytest.mark.parametrize("task", [Retrieval(max_length=80), ListOps(max_length=80, min_length=8)])
def test_one_file_as_train_and_test_set(tmp_path, task):
    layouts.aan(tmp_path, (8, 4, 4))
    for name in ("train", "val", "test"):
        value, other = {"train": 1, "val": 2, "test": 3}[name], "1 " * 9
        text = f"Source\tTarget\n[MAX 0 {value} ]\t{value}\n[MIN {other}]\t1\n"
        (tmp_path / f"basic_{name}.tsv").write_text(text)
    train, test = (
        ("new_aan_pairs.train.tsv", "new_aan_pairs.test.tsv") if task.paired
        else ("basic_train.tsv", "basic_test.tsv")
    )  # fmt: skip
    (tmp_path / test).unlink()
    (tmp_path / test).symlink_to(train)
    with pytest.raises(RunError, match=rf"{train} and .*{test} have the same contents"):
        prepared(tmp_path / "data", task, "release", tmp_path)


def test_a_test_set_of_one_empty_image(tmp_path, cli):
    """Nine images are train and validation, and the one of the test set is empty."""
    folder = layouts.pathfinder(tmp_path / "curv_baseline", IMAGES[:10], LABELS[:10], batches=1)
    names = [f"imgs/0/sample_{number}.png" for number in range(10)]
    last = max(names, key=_archive.digest)
    (folder / last).write_bytes(b"")
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data")
    status, _, err = cli("data", "prepare", "pathfinder", "--source", folder, *options)
    assert status == 1
    assert err == (
        f"lra-bench: pathfinder: no examples in test: {folder} holds too few "
        f"(skipped: {folder / last} is empty)\n"
    )


@pytest.mark.parametrize("tries", [400, pytest.param(60_000, marks=pytest.mark.slow)])
def test_any_damage_is_a_line(tmp_path, tries):
    """Bytes changed, inserted and removed in metadata of either form."""
    rng = np.random.default_rng(0)
    rows = [[f"imgs/{number}", "a.png", "0", "1"] for number in range(4)]
    (tmp_path / "metadata").mkdir()
    file = tmp_path / "metadata/0.npy"
    np.save(file, np.array(rows))
    good = [file.read_bytes(), "".join(" ".join(row) + "\n" for row in rows).encode()]
    for number in range(tries):
        content = bytearray(good[number % 2])
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(min(len(content), 200)))
            content[place : place + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
        file.write_bytes(content)
        with contextlib.suppress(RunError):
            assert all(label in (0, 1) for _, label in release.labels([file]))
