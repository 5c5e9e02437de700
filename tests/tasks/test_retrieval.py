"""Retrieval: the TSV files, read as bytes and in constant memory."""

import subprocess
import sys
import tracemalloc

import layouts
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import prepared

from lra_bench.contracts import Reading
from lra_bench.data.store import open_store
from lra_bench.errors import RunError
from lra_bench.tasks import _bytes, retrieval
from lra_bench.tasks.retrieval import Retrieval


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root = tmp_path_factory.mktemp("release")
    layouts.aan(root / "lra_release/lra_release/tsv_data")
    return root


def read(path, **options):
    return list(Retrieval(**options).read(Reading("release", path, path)))


@pytest.mark.parametrize("below", ["", "lra_release", "lra_release/lra_release/tsv_data"])
def test_found_from_any_root(release, below):
    sizes = [len(labels) for _, _, labels in read(release / below)]
    assert sizes == [256, 64, 64]


def test_documents_and_labels(release, tmp_path):
    store = open_store(prepared(tmp_path, Retrieval(max_length=60), "release", release))
    train = store.splits["train"]
    assert train.tokens.shape == (256, 2, 60)
    assert train.tokens.dtype == np.uint16
    topics = [topic.split()[0] for topic in layouts.TOPICS]
    for tokens, label in zip(train.tokens, train.labels, strict=True):
        one, two = map(_bytes.decode, tokens)
        assert b" \xff " in one
        assert [t in one for t in topics] == [(t in two) == (label == 1) for t in topics]
    assert store.manifest.official is False


def test_official_are_the_releases_sizes_only():
    sizes = {"train": 147_086, "validation": 18_090, "test": 17_437}
    assert Retrieval().official("release", {}, sizes)
    assert not Retrieval().official("release", {}, sizes | {"test": 17_436})


def test_sizes_limit_each_split(release):
    sizes = [len(labels) for _, _, labels in read(release, train_size=10, test_size=3)]
    assert sizes == [10, 64, 3]


GOOD = b"1.0\tA\tB\tone\ttwo\n"
BROKEN = {
    "four columns": (b"1.0\tA\tB\tone two\n", "tsv:2: 4 columns, must be 5"),
    "six columns": (b"1.0\tA\tB\tone\ttwo\tthree\n", "tsv:2: 6 columns, must be 5"),
    "no label": (b"x\tA\tB\tone\ttwo\n", "tsv:2: label 'x', must be 0 or 1"),
    "label of 2": (b"2.0\tA\tB\tone\ttwo\n", r"tsv:2: label '2\.0', must be 0 or 1"),
    "label of a half": (b"0.5\tA\tB\tone\ttwo\n", r"tsv:2: label '0\.5'"),
    "cut off": (b"1.0\tA\tB\ton", "tsv:2: the file is cut off in its last row"),
    "empty line": (b"\n", "tsv:2: 1 columns"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_rows_are_said_with_their_line(release, tmp_path, kind):
    row, message = BROKEN[kind]
    folder = layouts.aan(tmp_path / "tsv_data", (4, 4, 4))
    (folder / "new_aan_pairs.eval.tsv").write_bytes(GOOD + row)
    with pytest.raises(RunError, match=message):
        read(folder)


def test_a_last_row_without_line_end_is_taken_with_a_note(tmp_path):
    folder = layouts.aan(tmp_path / "tsv_data", (4, 4, 4))
    (folder / "new_aan_pairs.eval.tsv").write_bytes(GOOD + GOOD[:-1])
    notes = []
    blocks = Retrieval().read(Reading("release", folder, folder, note=notes.append))
    assert [len(labels) for _, _, labels in blocks] == [4, 2, 4]
    assert notes == [
        f"{folder}/new_aan_pairs.eval.tsv:2: the last row has no line end: is the file cut off?"
    ]


def test_a_file_without_line_ends_is_refused_before_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval, "_LONGEST_ROW", 1000)
    folder = layouts.aan(tmp_path / "tsv_data", (4, 4, 4))
    (folder / "new_aan_pairs.train.tsv").write_bytes(b"x" * 5000)
    with pytest.raises(RunError, match="no line end in 64 MB"):
        read(folder)


def test_long_rows_are_not_kept_as_a_whole(tmp_path):
    folder = layouts.aan(tmp_path / "tsv_data", (4, 4, 4))
    row = GOOD[:-1] + b"x" * 2**20 + b"\n"
    (folder / "new_aan_pairs.train.tsv").write_bytes(row * 20)
    tracemalloc.start()
    try:
        read(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["new_aan_pairs.train.tsv", "new_aan_pairs.test.tsv"])
def test_missing_files_are_named(tmp_path, name):
    folder = layouts.aan(tmp_path / "tsv_data", (4, 4, 4))
    (folder / name).unlink()
    with pytest.raises(RunError, match=rf"retrieval: no {name} in "):
        read(folder)


def test_a_packed_release_is_told_from_a_folder(tmp_path):
    (tmp_path / "lra_release.gz").write_bytes(b"")
    with pytest.raises(RunError, match=r"is a file; give the folder that it unpacks to"):
        read(tmp_path / "lra_release.gz")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_parser_takes_or_refuses_any_line(line):
    """Whatever the bytes: a label and two documents, or a ValueError in words."""
    try:
        label, one, two = retrieval._parse(line, 20)
    except ValueError:
        return
    assert label in (0, 1)
    assert max(len(one), len(two)) <= 20


def test_memory_does_not_grow_with_the_file(tmp_path):
    """120 MB of rows are read within 60 MB more than a few rows are."""
    peaks = [peak(layouts.aan(tmp_path / "small", (4, 4, 4))), peak(large(tmp_path / "large"))]
    assert peaks[1] - peaks[0] < 60


def large(folder):
    layouts.aan(folder, (4, 4, 4))
    row = b"1.0\tA\tB\t%s\t%s\n" % (b"x" * 30_000, b"y" * 30_000)
    with (folder / "new_aan_pairs.train.tsv").open("wb") as file:
        for _ in range(2_000):
            file.write(row)
    return folder


def peak(folder):
    """MB of a process that reads the folder."""
    code = (
        "import sys; from pathlib import Path; from lra_bench.contracts import Reading;"
        "from lra_bench.runtime import memory;"
        "from lra_bench.tasks.retrieval import Retrieval; path = Path(sys.argv[1]);"
        "sum(len(x[2]) for x in Retrieval(max_length=100).read(Reading('release', path, path)));"
        "print(memory.peak())"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, check=True)
    return int(done.stdout) / 2**20
