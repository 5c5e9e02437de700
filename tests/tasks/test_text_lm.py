"""Text-LM: which files are text, how they are split, and that every byte is predicted once."""

import gzip
import math
import tracemalloc
from collections import defaultdict

import layouts
import numpy as np
import pytest
from common import read_record, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import prepared

from lra_bench.contracts import SPLITS, Reading, Started
from lra_bench.data.store import open_store
from lra_bench.errors import RunError
from lra_bench.tasks import _documents
from lra_bench.tasks.text_lm import END, MASK, PAD, START, TextLM


def collect(path, note=lambda _: None, source="files", **options):
    """The tokens of each split."""
    task, parts = TextLM(**options), defaultdict(list)
    for split, tokens, labels in task.read(Reading(source, path, path, note=note)):
        assert tokens.dtype == np.uint16
        assert tokens.shape == (len(labels), task.max_len)
        assert not labels.any()
        parts[split].append(tokens)
    return {split: np.concatenate(blocks) for split, blocks in parts.items()}


def documents(tokens):
    """The bytes of the documents in the tokens of a split.

    The end of the last one is missing if it would be an example by itself.
    """
    flat = tokens.ravel()
    flat = flat[flat != PAD]
    flat = flat[: -1 if flat[-1] == END else None]
    parts = np.split(flat, np.flatnonzero(flat == END))
    return [(part[part != END] - 1).astype(np.uint8).tobytes() for part in parts]


def texts(found):
    return sorted(text for tokens in found.values() for text in documents(tokens))


def folder_of(root, contents, packed=False):
    root.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        content = gzip.compress(content, mtime=0) if packed else content
        (root / f"{number}.txt{'.gz' * packed}").write_bytes(content)
    return root


WORDS = [b"%d some words of document %d\n" % (n * n, n) for n in range(200)]


@pytest.mark.parametrize("length", [2, 7, 64, 10_000])
@pytest.mark.parametrize("packed", [False, True])
def test_every_byte_of_a_folder_is_in_one_example(tmp_path, length, packed):
    """Files follow each other, each with an end; only the last example of a split is padded."""
    found = collect(folder_of(tmp_path / "x", WORDS, packed), max_length=length)
    assert texts(found) == sorted(WORDS)
    assert found.keys() == set(SPLITS)
    for tokens in found.values():
        padding = tokens == PAD
        assert not padding[:-1].any()
        assert not (np.diff(padding[-1].astype(int)) < 0).any()
        assert TextLM().scored(tokens).any(axis=1).all()
    for split in ("validation", "test"):
        assert 2 <= len(documents(found[split])) <= 25


@settings(max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda x: b"\0" not in x), unique=True,
                min_size=2, max_size=12),
       st.integers(2, 30))  # fmt: skip
def test_any_bytes_but_zero_are_text(tmp_path_factory, contents, length):
    """UTF-8 or not; equal documents could not meet, and documents are never changed."""
    marks = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x1f\x8b")
    contents = [b"x" + text if text.startswith(marks) else text for text in contents]
    folder = folder_of(tmp_path_factory.mktemp("any"), set(contents))
    assert texts(collect(folder, max_length=length)) == sorted(set(contents))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("file", [b"one\ntwo", b"three", b"four\n five\r"]),
        ("paragraph", [b"one\ntwo", b"three", b"four\n five\r"]),
        ("line", [b"one", b"two", b"three", b"four", b" five\r"]),
    ],
)
def test_a_file_alone_is_read_by_paragraphs_or_lines(tmp_path, kind, wanted):
    """Blank lines, with spaces or a carriage return too, part paragraphs."""
    file = tmp_path / "any.name"
    file.write_bytes(b"\xef\xbb\xbf\n\none\ntwo\n \t\nthree\n\r\n\nfour\n five\r\n\n")
    assert texts(collect(file, document=kind)) == sorted(wanted)


def test_lines_are_whole_where_pieces_meet(tmp_path, monkeypatch):
    lines = [b"%d " % n * (n % 7 + 1) for n in range(50)]
    file = tmp_path / "x.txt"
    file.write_bytes(b"\n".join(lines))
    monkeypatch.setattr(_documents, "_PART", 5)
    assert texts(collect(file, document="line")) == sorted(lines)
    monkeypatch.setattr(_documents, "_LONGEST", 20)
    with pytest.raises(RunError, match=r"x.txt has a line of over 20 bytes"):
        collect(file, document="line")


def test_folders_of_splits_are_kept(tmp_path):
    """As PG-19 has them; files elsewhere are not read."""
    for number, split in enumerate(SPLITS):
        folder_of(tmp_path / split, WORDS[number * 5 : number * 5 + 5])
    (tmp_path / "metadata.txt").write_bytes(b"not read")
    found = collect(tmp_path)
    for number, split in enumerate(SPLITS):
        assert sorted(documents(found[split])) == sorted(WORDS[number * 5 : number * 5 + 5])


def test_equal_documents_are_in_one_split(tmp_path):
    folder = folder_of(tmp_path / "x", [b"\n\n".join(WORDS), b"\n\n".join(WORDS[::-1])])
    found = collect(folder, document="paragraph")
    parts = {split: set(documents(tokens)) for split, tokens in found.items()}
    assert sum(map(len, parts.values())) == len(WORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text".encode("utf-16"), "is text in UTF-16 or UTF-32"),
        ("text".encode("utf-32"), "is text in UTF-16 or UTF-32"),
        ("text".encode("utf-16-le"), "zero byte at 1: a binary file, or text in UTF-16"),
        (b"\x7fELF\x02\x01\x01\0\0", "has a zero byte at 7: a binary file"),
        (gzip.compress(b"\n\n".join(WORDS), mtime=0)[:-30], "is cut off or damaged"),
        (gzip.compress(b"tar\0", mtime=0), "zero byte at 3"),
        (b"\x1f\x8bnothing", "is cut off or damaged"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "line"])
def test_what_is_no_text_is_said_in_a_line(tmp_path, content, message, kind):
    folder = folder_of(tmp_path / "x", [b"good", content])
    with pytest.raises(RunError, match=message) as error:
        collect(folder, document=kind)
    assert "1.txt" in str(error.value)
    assert str(error.value).isprintable()


def test_a_zero_byte_is_found_in_any_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(_documents, "_PART", 10)
    folder = folder_of(tmp_path / "x", [b"good", b"x" * 25 + b"\0"])
    with pytest.raises(RunError, match="zero byte at 25"):
        collect(folder)


def test_empty_files_are_left_out(tmp_path):
    """Any number of them, also such as are empty when unpacked, or blank."""
    folder = folder_of(tmp_path / "x", [b"", b"", b"text", b"more", gzip.compress(b"", mtime=0)])
    notes = []
    assert texts(collect(folder, notes.append)) == [b"more", b"text"]
    assert notes[0] == "1 files without text were left out, such as 4.txt"
    assert texts(collect(folder_of(tmp_path / "y", [b"text", b" \n"]), document="line")) == [
        b"text"
    ]


def test_a_folder_without_text_is_refused(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(RunError, match=r"holds no file \*.txt or \*.txt.gz"):
        collect(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(RunError, match=r"all text files of .* are empty"):
        collect(tmp_path)


def test_sizes_stop_the_reading(tmp_path):
    """What follows is not read, so that a part of 50 GB costs no more than itself."""
    folder = folder_of(tmp_path / "x", WORDS * 3)
    sizes = {"train_size": 4, "validation_size": 2, "test_size": 1}
    every, few = (collect(folder, max_length=16, **options) for options in ({}, sizes))
    for split, size in zip(SPLITS, sizes.values(), strict=True):
        np.testing.assert_array_equal(few[split], every[split][:size])


def test_the_reviews_of_the_archive(tmp_path):
    """All of them; train and validation are those of the task Text."""
    archive = layouts.imdb(tmp_path / "aclImdb_v1.tar.gz", train=60, test=30)
    notes = []
    found = collect(tmp_path, notes.append, "archive", max_length=50)
    counts = [len(documents(found[split])) for split in SPLITS]
    assert counts == [108, 12, 60]
    assert all(b" caf\xe9 " in text for text in documents(found["test"]))
    # Both classes among the first: the archive has all of one class, then all of the other.
    assert {b"wonderful" in text for text in documents(found["test"])[:20]} == {True, False}
    assert len(notes) == 1
    store = open_store(prepared(tmp_path / "data", TextLM(max_length=50), "archive", archive))
    assert store.manifest.official is False


def test_words_and_bytes_are_counted(tmp_path, monkeypatch):
    """The note's factor is bytes over words of the test split, wherever pieces meet."""
    folder = folder_of(tmp_path / "x", [b"one, two\n three", *WORDS])
    found, notes = [], []
    for part in (3, 2**20):
        monkeypatch.setattr(_documents, "_PART", part)
        found = documents(collect(folder, notes.append)["test"])
    size, words = sum(map(len, found)), sum(len(text.split()) for text in found)
    assert notes[0] == notes[1]
    assert notes[0].startswith(f"test: {size:,} bytes in {words:,} words")
    assert notes[0].endswith(f"--set data.tokens_per_word={size / words:.4f}")


def test_options_that_only_read_share_the_store():
    options = TextLM().data_options("files")
    other = TextLM(objective="masked", tokens_per_word=5.0)
    assert other.data_options("files") == options
    assert "document" not in TextLM().data_options("archive")
    assert TextLM(document="line").data_options("files") != options


def test_ids_are_frozen():
    """They are part of each checkpoint: change them only together with the task's version."""
    assert (PAD, END, START, MASK, TextLM.vocab_size, TextLM.ordinary) == (
        0, 257, 258, 259, 260, (1, 256)
    )  # fmt: skip
    assert isinstance(TextLM(), Started)
    tokens = np.array([98, END, 99, PAD])
    assert TextLM().to_text(tokens) == "a\n\nb"


def test_memory_does_not_grow_with_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(_documents, "_PART", 2**16)
    rng = np.random.default_rng(0)
    folder = tmp_path / "x"
    folder.mkdir()
    for number in range(4):
        content = rng.integers(32, 127, 2**20, dtype=np.uint8)
        content[::997] = 10
        (folder / f"{number}.txt").write_bytes(content.tobytes())
    for kind in ("file", "line"):
        tracemalloc.start()
        try:
            for _ in TextLM(document=kind).read(Reading("files", folder, folder)):
                pass
            assert tracemalloc.get_traced_memory()[1] < 2**21
        finally:
            tracemalloc.stop()


@pytest.mark.ci
def test_from_files_to_a_record(cli, tmp_path):
    """prepare, check, show and run; the perplexity of words is that of the record's loss."""
    file = tmp_path / "book.txt"
    file.write_bytes(b"\n\n".join(b"%d " % n + text * 5 for n, text in enumerate(WORDS * 3)))
    sizes = [f"--set=data.{s}_size={n}" for s, n in zip(SPLITS, (64, 32, 32), strict=True)]
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data", *sizes)
    status, out, err = cli("data", "prepare", "text-lm", "--source", file, *options)
    assert (status, err) == (0, "")
    assert "prepared text-lm (files) in " in out
    assert "data.tokens_per_word=" in out
    files = "--set=data.source=files"
    status, out, _ = cli("data", "check", "text-lm", files, *options)
    assert status == 0, out
    assert "document" in cli("data", "show", "text-lm", files, *options)[1]
    run = ("run", "--task", "text-lm", "--attention", "identity", "--out", tmp_path / "run")
    few = ("--set=train.num_steps=2", "--set=train.eval_every=2", "--set=train.log_every=2")
    status, out, err = cli(*run, *options, files, *few, "--set=data.tokens_per_word=2.5")
    assert status == 0, err
    record = read_record(tmp_path / "run/record.json")
    loss, factor = record["test"]["loss"], record["config"]["data"]["tokens_per_word"]
    assert f"{math.exp(loss):.3f}, {loss / math.log(2):.4f} bits a token" in out
    assert f"{math.exp(factor * loss):,.3f} a word, of 2.5 tokens" in " ".join(out.split())


def test_bad_files_are_one_line_of_the_command(cli, tmp_path):
    prepare = ("data", "prepare", "text-lm", "--preset", "smoke", "--data-dir", tmp_path / "d")
    folder = folder_of(tmp_path / "x", [b"one", b"two"])
    refused(cli(*prepare, "--source", folder), 1, "no examples in", "holds too few")
    refused(cli(*prepare, "--source", tmp_path / "x/0.txt"), 1, "no examples in")
    (folder / "2.txt").write_bytes("text".encode("utf-16"))
    refused(cli(*prepare, "--source", folder), 1, "2.txt is text in UTF-16")
    archive = ("--set", "data.source=archive", "--source", folder)
    refused(cli(*prepare, *archive), 1, "no aclImdb_v1.tar.gz at")
