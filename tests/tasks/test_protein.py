"""Proteins: what a FASTA file may hold, and which examples it becomes."""

import contextlib
import gzip
import tracemalloc
from collections import defaultdict

import numpy as np
import pytest
from common import refused
from hypothesis import given
from hypothesis import strategies as st
from stores import prepared

from lra_bench.contracts import HELD_OUT, SPLITS, Reading
from lra_bench.data.store import open_store
from lra_bench.errors import RunError
from lra_bench.tasks import _fasta, _proteins
from lra_bench.tasks._proteins import ALPHABET, END, PAD, START
from lra_bench.tasks.protein import Protein
from lra_bench.tasks.protein_concat import ProteinConcat

HEADER = b">sp|P12345|NAME_HUMAN Some protein OS=Homo sapiens OX=9606 GN=ABC PE=1 SV=2\n"


def parsed(file, content):
    """The proteins of a file with that content, and how many entries were empty."""
    file.write_bytes(content)
    counts = _fasta.Counts()
    return list(_fasta.read(file, counts)), counts.empty


def collect(task, path, note=lambda _: None):
    """The tokens of each split."""
    parts = defaultdict(list)
    for split, tokens, labels in task.read(Reading("fasta", path, path, note=note)):
        assert tokens.dtype == np.uint8
        assert tokens.shape == (len(labels), task.max_len)
        assert not labels.any()
        parts[split].append(tokens)
    return {split: np.concatenate(blocks) for split, blocks in parts.items()}


def sequences(task, rows):
    return [task.to_text(row).strip("<>") for row in rows]


def fasta(entries):
    """The text of entries: pairs of a header and a sequence."""
    return b"".join(b">%s\n%s\n" % (name.encode(), text.encode()) for name, text in entries)


def drawn(count, seed=0, organism="Homo sapiens"):
    """Entries of random proteins of 20 to 60 residues."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(ALPHABET))
    return [
        (
            f"sp|P{seed}X{number:05d}|X_Y Name OS={organism} OX=1",
            "".join(rng.choice(letters, rng.integers(20, 60))),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("text", "residues"),
    [
        (b"MKV\nLAA\n", b"MKVLAA"),
        (b"mkv\n", b"MKV"),
        (b"MKV*\n", b"MKV"),
        (b"M K\tV\r\n", b"MKV"),
        (b"MJjV\n", b"MXXV"),
        (b"BOUXZ", b"BOUXZ"),
        (b"MK\n\n\nV\n", b"MKV"),
    ],
)
def test_what_a_sequence_may_hold(tmp_path, text, residues):
    """Lower case, one * at the end, spaces, J as X, blank lines, no line end at the end."""
    (protein,), empty = parsed(tmp_path / "x.fasta", HEADER + text)
    assert protein == _fasta.FastaEntry("P12345", "Homo sapiens", residues)
    assert not empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"MK-V\n", r":2: '-' is a gap of an alignment"),
        (b"MKV\nM.K\n", r":3: '\.' is a gap"),
        (b"MK*V\n", r":2: '\*' within a sequence"),
        (b"MKV**\n", r":2: '\*' within a sequence"),
        (b"MKV\nM1K\n>x\nM\n", r":3: '1' is no amino acid"),
        (b"MK\xe9V\n", r":2: '\\xe9'"),
        (b"MK\0V\n", r":2: '\\x00'"),
    ],
)
def test_what_a_sequence_may_not_hold_is_said_with_its_line(tmp_path, text, message):
    with pytest.raises(RunError, match=message) as error:
        parsed(tmp_path / "x.fasta", HEADER + text)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no sequences"),
        (b"\n\n", "holds no sequences"),
        (b"MKV\nMKV\n", "x.fasta:1: no FASTA file: 'MKV' comes before any header"),
        (b"\n1234\n", "x.fasta:2: no FASTA file: '1234'"),
        (">a\nMKV\n".encode("utf-16"), "is text in UTF-16; FASTA is plain ASCII"),
        (b"\xef\xbb\xbf>a\nMKV\n", "is text in UTF-8 with a mark"),
        (gzip.compress(fasta(drawn(50)), mtime=0)[:-40], "is cut off or damaged"),
        (gzip.compress(fasta(drawn(50)), mtime=0)[:20], "is cut off or damaged"),
        (gzip.compress(b"", mtime=0), "holds no sequences"),
        (b"\x1f\x8bnot gzip at all", "is cut off or damaged"),
        (b"PK\x03\x04zip", "no FASTA file"),
    ],
)
def test_files_that_are_no_fasta(tmp_path, content, message):
    with pytest.raises(RunError, match=message) as error:
        parsed(tmp_path / "x.fasta", content)
    assert str(error.value).isprintable()


def test_a_damaged_byte_within_gzip_is_no_traceback(tmp_path):
    """Whichever byte it is: the deflated text, the header, the checksum."""
    whole = gzip.compress(fasta(drawn(40)))
    found = 0
    for place in range(2, len(whole), max(1, len(whole) // 60)):
        damaged = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        with contextlib.suppress(RunError):
            parsed(tmp_path / "x.fasta.gz", damaged)
            continue
        found += 1
    assert found > 40


def test_a_header_alone_and_an_empty_sequence_are_counted(tmp_path):
    content = b">a\n>b\nMKV\n>c\n\n>d\n*\n>e\n"
    found, empty = parsed(tmp_path / "x.fasta", content)
    assert [protein.accession for protein in found] == ["b"]
    assert empty == 4
    notes = []
    collect(Protein(), tmp_path / "x.fasta", notes.append)
    assert notes == [f"{tmp_path / 'x.fasta'}: 4 entries without residues were left out"]


@pytest.mark.parametrize(
    ("header", "accession", "organism"),
    [
        ("tr|A0A1|A0A1_9BACT Some OS=Escherichia coli (strain K12) OX=83333 PE=4",
         "A0A1", "Escherichia coli (strain K12)"),
        ("NP_1234.1 protein [Homo sapiens]", "NP_1234.1", ""),
        ("", "", ""),
        ("x OS=Virus", "x", "Virus"),
    ],
)  # fmt: skip
def test_headers(tmp_path, header, accession, organism):
    (protein,), _ = parsed(tmp_path / "x.fasta", fasta([(header, "MKV")]))
    assert (protein.accession, protein.organism) == (accession, organism)


def test_lines_and_sequences_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_fasta, "_LONGEST_LINE", 1_000)
    with pytest.raises(RunError, match=r":2: no line end in 1,000 bytes"):
        parsed(tmp_path / "x.fasta", HEADER + b"M" * 5_000)
    monkeypatch.setattr(_fasta, "_LONGEST", 2_000)
    with pytest.raises(RunError, match=r"a sequence of over 2,000 letters"):
        parsed(tmp_path / "x.fasta", HEADER + b"M\n" * 5_000)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, packed):
    file = tmp_path_factory.mktemp("any") / "x"
    content = gzip.compress(content) if packed else content
    try:
        found, _ = parsed(file, content)
    except RunError:
        return
    assert all(set(each.residues) <= set(ALPHABET.encode()) and each.residues for each in found)


ENTRIES = st.lists(
    st.tuples(
        st.text("PQ0123", min_size=1, max_size=5).map(lambda name: f"sp|{name}|X OS=Mus OX=1"),
        st.text(ALPHABET, min_size=1, max_size=30),
    ),
    min_size=1,
    max_size=30,
)


@given(ENTRIES, st.integers(2, 20), st.booleans())
def test_single_proteins_are_clipped_and_padded(tmp_path_factory, entries, length, packed):
    """Each protein is one example: a start, its residues, an end if it fits, and padding."""
    file = tmp_path_factory.mktemp("some") / "x"
    text = fasta(entries)
    file.write_bytes(gzip.compress(text) if packed else text)
    task = Protein(max_length=length)
    found = collect(task, file)
    texts = [task.to_text(row) for rows in found.values() for row in rows]
    assert sorted(texts) == sorted(f"<{residues}>"[:length] for _, residues in entries)
    for rows in found.values():
        assert (rows[:, 0] == START).all()
        np.testing.assert_array_equal(task.scored(rows).sum(1), (rows > END).sum(1))
    for one, other in zip(SPLITS, SPLITS[1:] + SPLITS[:1], strict=True):
        seen = [{row.tobytes() for row in found.get(split, [])} for split in (one, other)]
        assert not seen[0] & seen[1]


@given(ENTRIES, st.integers(2, 20))
def test_proteins_follow_each_other(tmp_path_factory, entries, length):
    """Joined by ends, each split begins like its proteins; less than an example is lost."""
    file = tmp_path_factory.mktemp("some") / "x"
    file.write_bytes(fasta(entries))
    task = ProteinConcat(max_length=length)
    whole = defaultdict(str)
    for split, residues in task.proteins(Reading("fasta", file, file)):
        whole[split] += task.to_text(residues) + ">"
    found = collect(task, file)
    for split, text in whole.items():
        rows = found.get(split, np.zeros((0, length), np.uint8))
        assert len(text) - length < rows.size <= len(text)
        assert task.to_text(rows.ravel()) == text[: rows.size]
        assert not (rows == PAD).any()


@pytest.fixture(scope="module")
def given_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("given") / "proteins.fasta.gz"
    fly = drawn(30, seed=1, organism="Drosophila melanogaster")
    file.write_bytes(gzip.compress(fasta([*drawn(600), *fly, *drawn(20), *fly[:5]])))
    return file


def test_splits_are_by_sequence_and_of_fair_size(given_file):
    found = collect(Protein(), given_file)
    assert sum(map(len, found.values())) == 655
    assert HELD_OUT not in found
    for split in ("validation", "test"):
        assert 12 <= len(found[split]) <= 60
    texts = {split: set(sequences(Protein(), rows)) for split, rows in found.items()}
    assert not texts["train"] & (texts["test"] | texts["validation"])
    assert not texts["test"] & texts["validation"]


def test_what_an_example_reads_decides_on_its_split(given_file):
    """Proteins that begin alike become the same example, so they are in one split."""
    found = collect(Protein(max_length=4), given_file)
    kinds = {split: {row.tobytes() for row in rows} for split, rows in found.items()}
    assert not kinds["train"] & kinds["test"]


@pytest.mark.parametrize("chosen", ["Drosophila", "Drosophila melanogaster", "P1X"])
@pytest.mark.parametrize("kind", [Protein, ProteinConcat])
def test_held_out_organisms_and_accessions_are_in_no_other_split(given_file, kind, chosen):
    notes = []
    task = kind(max_length=30, held_out=(chosen, "Nobody"))
    found = collect(task, given_file, notes.append)
    of_fly = {residues[:10] for _, residues in drawn(30, seed=1)}
    text = {split: "".join(sequences(task, rows)) for split, rows in found.items()}
    assert any(start in text[HELD_OUT] for start in of_fly)
    assert not any(start in text[split] for start in of_fly for split in SPLITS)
    if kind is Protein:
        assert len(found[HELD_OUT]) == 35
    file = given_file
    assert notes == [f"{file}: no organism or accession begins with 'Nobody', to be held out"]


def test_proteins_that_held_out_organisms_share_with_others_are_in_no_other_split(tmp_path):
    file, notes = tmp_path / "shared.fasta", []
    shared, number = "MKVLAAGIVGLCAKAYLDENRTS", 0
    lines = [f">sp|F1|X OS=Fly OX=1\n{shared}", f">sp|H1|X OS=Human OX=2\n{shared}"]
    lines += [f">sp|H2|X OS=Human OX=2\n{shared}WWW"]
    for number, (_, residues) in enumerate(drawn(100, seed=5)):
        lines.append(f">sp|Q{number}|X OS=Human OX=2\n{residues}")
    file.write_text("\n".join(lines) + "\n")
    task = Protein(max_length=30, held_out=("Fly",))
    found = {s: sequences(task, rows) for s, rows in collect(task, file, notes.append).items()}
    assert list(found[HELD_OUT]) == [shared]
    others = [text for split in SPLITS for text in found[split]]
    assert shared not in others
    assert shared + "WWW" in others
    assert len(others) == number + 2
    assert notes == [f"{file}: left out, because a held-out protein is equal: 1"]


@pytest.mark.parametrize("wrong", [("",), (" ",), (1,), (None,), (("Mus",),)])
def test_held_out_names_are_words(wrong):
    with pytest.raises(ValueError, match=r"held_out=\[.*\]: must be names of organisms"):
        Protein(held_out=wrong)


@pytest.mark.parametrize("kind", [Protein, ProteinConcat])
def test_sizes_are_upper_limits(given_file, kind):
    few = kind(max_length=20, train_size=50, test_size=3)
    found, every = (collect(task, given_file) for task in (few, kind(max_length=20)))
    assert [len(found[split]) for split in SPLITS] == [50, len(every["validation"]), 3]
    for split in SPLITS:
        np.testing.assert_array_equal(found[split], every[split][: len(found[split])])


def test_the_objective_shares_the_store(given_file, tmp_path):
    tasks = [Protein(objective=objective) for objective in ("next", "masked")]
    one, other = (prepared(tmp_path, task, "fasta", given_file) for task in tasks)
    assert one.path == other.path
    store = open_store(one)
    for split, facts in store.manifest.splits.items():
        counts = np.bincount(store.splits[split].tokens.ravel(), minlength=29)
        counts[: END + 2] = 0
        assert facts.token_histogram == counts.tolist()


def test_bad_files_are_one_line_of_the_command(cli, tmp_path):
    file = tmp_path / "x.fasta"
    prepare = ("data", "prepare", "protein", "--preset", "smoke", "--data-dir", tmp_path / "d")
    for content, words in ((b"", "holds no sequences"), (HEADER + b"M-K", "x.fasta:2: '-'")):
        file.write_bytes(content)
        refused(cli(*prepare, "--source", file), 1, words)
    file.write_bytes(HEADER + b"MKV\n")
    refused(cli(*prepare, "--source", file), 1, "no examples in", "holds too few")
    refused(cli(*prepare, "--source", tmp_path), 1, "is no file; give a FASTA file")
    refused(cli(*prepare), 2, "a FASTA file of proteins")
    wrong = ("--set", 'data.held_out=[""]')
    refused(cli(*prepare, *wrong, "--source", file), 2, "must be names of organisms")


@pytest.mark.parametrize("kind", [Protein, ProteinConcat])
def test_memory_does_not_grow_with_the_file(tmp_path, kind):
    file = tmp_path / "x.fasta.gz"
    # 3 MB of residues, each sequence different in its first letters.
    body = b"".join(b"ACDEFGHIKL" * 6 + b"\n" for _ in range(30))
    letters = np.frombuffer(ALPHABET[:16].encode(), np.uint8)
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for number in range(1_500):
            start = letters[[(number >> shift) & 15 for shift in (0, 4, 8, 12)]].tobytes()
            packed.write(b">sp|P%d|X OS=Mus\n%s%s" % (number, start, body))
    tracemalloc.start()
    try:
        for _ in kind(max_length=64).read(Reading("fasta", file, file)):
            pass
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_ids_are_frozen():
    """They are part of each checkpoint: change them only together with the task's version."""
    assert ALPHABET == "ACDEFGHIKLMNPQRSTVWYBOUXZ"
    assert (PAD, START, END, _proteins.MASK, _proteins.FIRST, _proteins.LAST) == (0, 1, 2, 3, 4, 28)
    assert Protein.version == 2
