"""Text and Image: their archives, told apart when they are wrong."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import layouts
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import prepared

from lra_bench.contracts import Reading
from lra_bench.data.store import open_store
from lra_bench.errors import RunError
from lra_bench.tasks import _archive, _bytes, _images
from lra_bench.tasks.image import Image
from lra_bench.tasks.text import Text

EVERYTHING = _archive.Expected(".*", "members", 10_000)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    layouts.imdb(folder / "aclImdb_v1.tar.gz")
    layouts.cifar(folder / "cifar-10-binary.tar.gz")
    return folder


@pytest.fixture(scope="module")
def text(archives, tmp_path_factory):
    return open_store(prepared(tmp_path_factory.mktemp("text"), Text(), "archive", archives))


@pytest.fixture(scope="module")
def image(archives, tmp_path_factory):
    return open_store(prepared(tmp_path_factory.mktemp("image"), Image(), "archive", archives))


def collect(task, path, tmp_path):
    parts = {}
    for split, tokens, labels in task.read(Reading("archive", path, tmp_path / "scratch")):
        parts.setdefault(split, []).append((tokens, labels))
    return {k: [np.concatenate(x) for x in zip(*v, strict=True)] for k, v in parts.items()}


class TestText:
    def test_sizes_and_labels(self, text):
        sizes = {name: len(split) for name, split in text.splits.items()}
        assert sizes == {"train": 180, "validation": 20, "test": 40}
        for split in text.splits.values():
            for tokens, label in zip(split.tokens, split.labels, strict=True):
                assert ("wonderful" in Text().to_text(tokens)) == (label == 1)

    def test_bytes_that_are_no_utf8_stay_as_they_are(self, text):
        tokens = text.splits["train"].tokens[0]
        assert b" caf\xe9 " in _bytes.decode(tokens)
        assert "caf\\xe9" in Text().to_text(tokens)
        assert tokens.dtype == np.uint16

    def test_held_out_is_a_rule_on_names_alone(self):
        """Change these only with the task's `version`: they are the frozen split."""
        ids = [f"train/{label}/{n}_{r}.txt" for label, r in (("neg", 2), ("pos", 9))
               for n in range(10)]  # fmt: skip
        kept, chosen = _archive.held_out(ids)
        assert [ids[row] for row in chosen] == GOLDEN
        mixed = ids[::-1]
        assert [mixed[row] for row in _archive.held_out(mixed)[1]] == GOLDEN
        assert sorted(kept + chosen) == list(range(20))

    def test_paper_compat_validates_on_the_test_set(self, archives, tmp_path):
        data = collect(Text(validation="paper-compat"), archives, tmp_path)
        assert len(data["train"][1]) == 200
        np.testing.assert_array_equal(data["validation"][0], data["test"][0])

    def test_the_first_thousand_bytes_are_read_as_others_read_them(self, tmp_path):
        """As LRA/datasets/text.py of Nystromformer: all of train, test twice, byte + 1, padded."""
        archive = tmp_path / "aclImdb_v1.tar.gz"
        long = ("aclImdb/test/pos/99_8.txt", bytes(range(32, 256)) * 9)
        layouts.imdb(archive, train=20, test=10, extra=[long])
        task = Text(max_length=1_000, validation="paper-compat")
        data = collect(task, archive, tmp_path)
        expected = {"train": set(), "test": set()}
        reviews = _archive.Expected("(train|test)/(neg|pos)/.*", "reviews", 10_000)
        for name, content in _archive.members(archive, reviews, ""):
            split, label, _ = name.split("/")
            ids = [byte + 1 for byte in content[:1_000]]
            expected[split].add((*ids, *[0] * (1_000 - len(ids)), int(label == "pos")))
        expected["validation"] = expected["test"]
        for split, (tokens, labels) in data.items():
            rows = [(*ids, label) for ids, label in zip(tokens.tolist(), labels, strict=True)]
            assert set(rows) == expected[split]
            assert len(rows) == (40 if split == "train" else 21)

    def test_fewer_examples_are_some_of_all(self, archives, text, tmp_path):
        data = collect(Text(train_size=30, test_size=7), archives, tmp_path)
        assert [len(labels) for _, labels in data.values()] == [30, 20, 7]
        everything = {row.tobytes() for row in np.asarray(text.splits["train"].tokens)}
        assert all(row.tobytes() in everything for row in data["train"][0])

    def test_the_order_in_the_archive_does_not_matter(self, text, tmp_path):
        members = list(_archive.members(layouts.imdb(tmp_path / "a.tar.gz"), EVERYTHING, ""))
        import tarfile

        with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
            for name, content in reversed(members):
                layouts.add(tar, f"aclImdb/{name}", content)
        data = collect(Text(), tmp_path / "b.tar.gz", tmp_path)
        for split, (tokens, labels) in data.items():
            np.testing.assert_array_equal(tokens, text.splits[split].tokens)
            np.testing.assert_array_equal(labels, text.splits[split].labels)

    def test_provenance(self, text):
        assert text.manifest.official is False
        assert list(text.manifest.inputs) == ["aclImdb_v1.tar.gz"]
        assert "SHA-256 of the id" in text.manifest.split_rule

    def test_official_is_the_published_checksum(self):
        published = Text.sources[0].sha256
        assert Text().official("archive", {"aclImdb_v1.tar.gz": published}, {})
        assert not Text().official("archive", {"aclImdb_v1.tar.gz": published[::-1]}, {})

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            ([("aclImdb/../../etc/passwd", b"x")], "leads out of the archive: refused"),
            ([("/etc/passwd", b"x")], "leads out of the archive: refused"),
            ([("aclImdb/train/pos/500_3.txt", b"x")], "a rating of 3 is not pos"),
            ([("aclImdb/train/neg/500_11.txt", b"x")], "a rating of 11 is not neg"),
        ],
    )
    def test_wrong_members(self, tmp_path, extra, message):
        layouts.imdb(tmp_path / "x.tar.gz", extra=extra)
        with pytest.raises(RunError, match=message):
            collect(Text(), tmp_path / "x.tar.gz", tmp_path)

    def test_one_class_only(self, tmp_path):
        layouts.imdb(tmp_path / "x.tar.gz", test=0, extra=[("aclImdb/test/pos/1_9.txt", b"x")])
        with pytest.raises(RunError, match="no test reviews in both neg and pos"):
            collect(Text(), tmp_path / "x.tar.gz", tmp_path)

    @pytest.mark.parametrize("kept", [0.1, 0.6, 0.999])
    def test_cut_off(self, archives, tmp_path, kept):
        content = (archives / "aclImdb_v1.tar.gz").read_bytes()
        file = tmp_path / "aclImdb_v1.tar.gz"
        file.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(RunError, match="is broken or cut off"):
            collect(Text(), tmp_path, tmp_path)

    @pytest.mark.parametrize("content", [b"", b"nonsense", gzip.compress(b"no tar", mtime=0)])
    def test_no_archive_at_all(self, tmp_path, content):
        (tmp_path / "aclImdb_v1.tar.gz").write_bytes(content)
        with pytest.raises(
            RunError, match=r"is broken or cut off: .*; get aclImdb_v1\.tar\.gz from https://"
        ):
            collect(Text(), tmp_path, tmp_path)

    def test_missing(self, tmp_path):
        with pytest.raises(RunError, match=r"text: no aclImdb_v1\.tar\.gz at"):
            collect(Text(), tmp_path, tmp_path)


GOLDEN = ["train/neg/4_2.txt", "train/neg/8_2.txt"]


class TestImage:
    def test_sizes_labels_and_range(self, image):
        sizes = {name: len(split) for name, split in image.splits.items()}
        assert sizes == {"train": 270, "validation": 30, "test": 200}
        for split in image.splits.values():
            assert split.tokens.shape[1:] == (1024,)
            assert split.tokens.dtype == np.uint8
            # Made so that label k is k * 22 bright, with noise of 0 to 29.
            brightness = np.asarray(split.tokens, float).mean(axis=1)
            np.testing.assert_array_equal(np.rint((brightness - 14.5) / 22), split.labels)

    def test_no_pixel_is_padding(self):
        assert Image().pad_id is None

    def test_luma_is_tensorflows(self):
        """0.2989 R + 0.587 G + 0.114 B of values in [0, 1], times 255.5, rounded down."""
        pixels = np.array([[[[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]]]])
        assert _images.luma(pixels.astype(np.uint8)).ravel().tolist() == [255, 76, 149, 29, 0]

    def test_planes_are_not_mixed_up(self, tmp_path):
        """A record is all of red, then green, then blue, each row by row."""
        layouts.cifar(tmp_path / "cifar-10-binary.tar.gz")
        data = collect(Image(), tmp_path, tmp_path)
        expected = layouts.cifar_records(200)
        planes = expected[:, 1:].reshape(-1, 3, 1024).astype(float)
        luma = np.floor(np.tensordot([0.2989, 0.587, 0.114], planes, (0, 1)) * 255.5 / 255)
        difference = np.abs(data["test"][0].astype(float) - luma)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01

    def test_shrink_is_the_mean_of_blocks(self, archives, image, tmp_path):
        data = collect(Image(shrink=2), archives, tmp_path)
        blocks = np.asarray(image.splits["test"].tokens, float).reshape(-1, 16, 2, 16, 2)
        np.testing.assert_array_equal(
            data["test"][0], np.rint(blocks.mean(axis=(2, 4))).reshape(-1, 256)
        )

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("data_batch_1.bin", b"\0" * 3072, "3,072 bytes, not a multiple of 3,073"),
            ("data_batch_1.bin", b"", "0 bytes, not a multiple"),
            ("test_batch.bin", b"\x0a" * 3073, "record 0 has label 10, must be 0 to 9"),
        ],
    )
    def test_wrong_records(self, tmp_path, name, content, message):
        path = layouts.cifar(
            tmp_path / "x.tar.gz", extra=[(f"cifar-10-batches-bin/{name}", content)]
        )
        with pytest.raises(RunError, match=message):
            collect(Image(), path, tmp_path)

    def test_a_class_without_images(self, tmp_path):
        path = layouts.cifar(tmp_path / "x.tar.gz", train=9, test=9)
        with pytest.raises(RunError, match=r"some class has no (train|test) image: \[\d+,"):
            collect(Image(), path, tmp_path)

    def test_cut_off(self, archives, tmp_path):
        content = (archives / "cifar-10-binary.tar.gz").read_bytes()
        (tmp_path / "x.tar.gz").write_bytes(content[:-2000])
        with pytest.raises(RunError, match="is broken or cut off"):
            collect(Image(), tmp_path / "x.tar.gz", tmp_path)

    @pytest.mark.parametrize("shrink", [0, 3, 64, -1])
    def test_wrong_shrink(self, shrink):
        with pytest.raises(ValueError, match=r"must divide the side of 32|from 1 to 32"):
            Image(shrink=shrink)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(1, 30))
def test_bytes_come_back(documents, width):
    """Any bytes, cut at the width; id 0 is padding and nothing else."""
    tokens = _bytes.encode(documents, width)
    for row, document in zip(tokens, documents, strict=True):
        assert _bytes.decode(row) == document[:width]
        assert (row > 0).sum() == min(len(document), width)


def test_an_interrupted_preparation_starts_again(archives, tmp_path):
    """kill -9 in the middle of it leaves no store, and the next call makes a whole one.

    In that process both tasks read their archives, and nothing imports TensorFlow.
    """
    code = (
        "import os, sys; from pathlib import Path;"
        "from lra_bench.data.location import locate; from lra_bench.data.prepare import prepare;"
        "from lra_bench.tasks.image import Image; from lra_bench.tasks.text import Text;"
        f"location = locate(Path({str(tmp_path / 'image')!r}), Image(), 'archive');"
        f"prepare(Image(), location, Path({str(archives)!r}));"
        "kill = lambda what, done, total: os.kill(os.getpid(), 9) if done > 150 else None;"
        "print('tensorflow' in sys.modules, flush=True);"
        f"location = locate(Path({str(tmp_path)!r}), Text(), 'archive');"
        f"prepare(Text(), location, Path({str(archives)!r}), kill)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -9, done.stderr
    assert done.stdout.split() == [b"False"]
    assert len(list((tmp_path / "image").rglob("manifest.json"))) == 1
    assert not list((tmp_path / "text").rglob("manifest.json"))
    store = open_store(prepared(tmp_path, Text(), "archive", archives))
    assert len(store.splits["train"]) == 180
    assert [p.name for p in (tmp_path / "text").iterdir() if p.is_dir()] == [
        next((tmp_path / "text").glob("archive-*")).name
    ]


def test_another_archive_under_the_same_name_is_read_anew(archives, tmp_path):
    """What a failed attempt left behind of one archive is not taken for the next one's."""
    file = Path(shutil.copy(archives / "aclImdb_v1.tar.gz", tmp_path))
    first = collect(Text(), file, tmp_path)
    layouts.imdb(file, train=50)
    assert len(collect(Text(), file, tmp_path)["train"][1]) == 90 != len(first["train"][1])
