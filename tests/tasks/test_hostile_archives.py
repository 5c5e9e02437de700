"""Archives made to fill memory or disk, to count twice, or to lead elsewhere: a line for each."""

import gzip
import io
import tarfile
import tracemalloc

import layouts
import numpy as np
import pytest

from lra_bench.contracts import Reading
from lra_bench.errors import RunError
from lra_bench.tasks import _archive
from lra_bench.tasks.image import Image
from lra_bench.tasks.text import Text

LAYOUT = _archive.Expected(r"train/(neg|pos)/[0-9]+_[0-9]+\.txt", "aclImdb/train/{neg,pos}", 10_000)
NAME = "aclImdb/train/pos/0_9.txt"


def member(name=NAME, content=b"x", **facts):
    """Return the bytes of a member; `facts` change its header."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512)


def extended(kind, size, content=b""):
    return member("header", content, type=kind, size=size)


def pax(content, **headers):
    """Return a member with these extended headers."""
    info = tarfile.TarInfo(NAME)
    info.size, info.pax_headers = len(content), headers
    return info.tobuf(tarfile.PAX_FORMAT) + content + b"\0" * (-len(content) % 512)


def read(tmp_path, *parts, packed=None, layout=LAYOUT):
    archive = tmp_path / "x.tar.gz"
    content = gzip.compress(b"".join(parts) + b"\0" * 1024, 1, mtime=0)
    archive.write_bytes(content if packed is None else packed)
    return list(_archive.members(archive, layout, "get it from URL"))


GNU_SPARSE = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.realsize": "1" + "0" * 12,
}
HOSTILE = {
    "sparse, 1 TB": ([pax(b"1\n0\n1\n" + b"\0" * 506, **GNU_SPARSE)], "is a sparse file: refused"),
    "declares 1 TB": ([member(size=10**12)], r"has 1,000,000,000,000 bytes, more than 268,435,456"),
    "declares 1 TB by pax": ([pax(b"x", size="1" + "0" * 12)], "1,000,000,000,000 bytes"),
    "above the task's limit": ([member(content=b"x" * 10_001)], "10,001 bytes, more than 10,000"),
    "pax header of 3 GB": ([extended(b"x", 3 * 10**9)], "an extended header of 3,000,000,000"),
    "global pax header": ([extended(b"g", 3 * 10**9)], "an extended header of 3,000,000,000"),
    "long name of 3 GB": ([extended(b"L", 3 * 10**9)], "an extended header of 3,000,000,000"),
    "long link of 3 GB": ([extended(b"K", 3 * 10**9)], "an extended header of 3,000,000,000"),
    "pax in pax": ([extended(b"x", 6, b"6 a=b\n")] * 3_000, "is broken or cut off: Rec"),
    "damaged header": ([member(), b"x" * 512], "is broken or cut off: ReadError"),
    "size of 5,000 digits": ([pax(b"x", size="9" * 5_000)], "is broken or cut off"),
    "NUL in the name": ([pax(b"x", path="aclImdb/a\0b")], r"leads out of the archive|is broken"),
    "up": ([member("aclImdb/../../x")], "leads out of the archive: refused"),
    "absolute": ([member("/etc/passwd")], "leads out of the archive: refused"),
    "symbolic link": ([member(type=b"2", linkname="/etc/passwd")], "is a link, a device or a pipe"),
    "hard link": ([member(type=b"1", linkname=NAME)], "is a link, a device or a pipe"),
    "character device": ([member(type=b"3")], "is a link, a device or a pipe"),
    "block device": ([member(type=b"4")], "is a link, a device or a pipe"),
    "pipe": ([member(type=b"6")], "is a link, a device or a pipe"),
    "link elsewhere": ([member("a/b", type=b"2", linkname="/x")], "is a link, a device or a pipe"),
    "twice": ([member(), member()], r"'aclImdb/train/pos/0_9\.txt' is in it twice"),
    "twice in two folders": ([member(), member("other/train/pos/0_9.txt")], "is in it twice"),
    "twice by a dot": ([member(), member("./aclImdb/./train/pos//0_9.txt")], "is in it twice"),
    "cut off in a member": ([member(content=b"x" * 2_000)[:900]], "is broken or cut off"),
    "no end mark": ([member()], "is broken or cut off: ReadError: no end mark"),
    "two archives": ([member(), b"\0" * 1024, member()], "something follows the end"),
    "flat": ([member("train/pos/0_9.txt")], r"holds 'train/pos/0_9\.txt' \.\.\. but no aclImdb"),
    "nothing": ([], "is broken or cut off: .*; get it from URL|holds no file"),
    "folders only": ([member(NAME, b"", type=b"5")], r"is no plain file|holds no file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_one_line_in_little_memory(tmp_path, kind):
    parts, message = HOSTILE[kind]
    packed = gzip.compress(b"".join(parts)) if kind == "no end mark" else None
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match=message) as caught:
            read(tmp_path, *parts, packed=packed)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


def test_good_members_are_read(tmp_path):
    parts = [
        member("aclImdb/README"),
        pax(b"one", comment="x"),
        member("aclImdb/train/neg/1_2.txt"),
    ]
    found = read(tmp_path, *parts)
    assert found == [("train/pos/0_9.txt", b"one"), ("train/neg/1_2.txt", b"x")]


def zeros(gigabytes):
    """Return an archive of one member and of zeros, as many streams of gzip."""
    return gzip.compress(member(), mtime=0) + gzip.compress(bytes(2**26), 6) * (16 * gigabytes)


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "_MOST_BYTES", 2**20)
    with pytest.raises(RunError, match="unpacks to more than 1,048,576 bytes: refused"):
        read(tmp_path, packed=gzip.compress(member() + bytes(2**21), mtime=0))


@pytest.mark.slow
def test_gigabytes_of_zeros(tmp_path):
    with pytest.raises(RunError, match="unpacks to more than 2,147,483,648 bytes: refused"):
        read(tmp_path, packed=zeros(3))


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "_MOST_MEMBERS", 10)
    with pytest.raises(RunError, match="has more than 10 members: refused"):
        read(tmp_path, *(member(f"a/{number}") for number in range(11)))


NO_ARCHIVES = [
    b"", b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8b\x08" + b"\xff" * 99,
    gzip.compress(b"no tar", mtime=0), gzip.compress(bytes(9_000), mtime=0),
]  # fmt: skip


@pytest.mark.parametrize("packed", NO_ARCHIVES)
def test_no_archive(tmp_path, packed):
    with pytest.raises(RunError, match=r"is broken or cut off|holds no file"):
        read(tmp_path, packed=packed)


def test_a_checksum_of_gzip_that_is_wrong(tmp_path):
    good = gzip.compress(member() + bytes(1024), mtime=0)
    with pytest.raises(RunError, match=r"is broken or cut off: BadGzipFile: CRC check failed"):
        read(tmp_path, packed=good[:-8] + b"\0\0\0\0" + good[-4:])


@pytest.mark.parametrize("digits", ["1" * 5_000, "09", "5", "0", "11", "99"])
def test_ratings(tmp_path, digits):
    info = tarfile.TarInfo(f"aclImdb/train/pos/1_{digits}.txt")
    content = info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(content, mtime=0))
    with pytest.raises(RunError, match=r"a rating of \d{1,20} is not pos") as caught:
        list(Text().read(Reading("archive", tmp_path / "x.tar.gz", tmp_path / "scratch")))
    assert len(str(caught.value)) < 400


OTHER_RELEASES = {
    "CIFAR-10 for Python": "cifar-10-batches-py/data_batch_1",
    "CIFAR-100": "cifar-100-binary/train.bin",
    "CIFAR-100 for Python": "cifar-100-python/train",
    "flat": "data_batch_1.bin",
}


@pytest.mark.parametrize("kind", OTHER_RELEASES)
def test_another_release_of_cifar(tmp_path, kind):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        layouts.add(tar, OTHER_RELEASES[kind], b"x")
    message = (
        rf"holds '{OTHER_RELEASES[kind]}' \.\.\. but no cifar-10-batches-bin/data_batch_.*; "
        r"get cifar-10-binary\.tar\.gz from https://www\.cs\.toronto\.edu"
    )
    with pytest.raises(RunError, match=message):
        list(Image().read(Reading("archive", path, tmp_path / "scratch")))


@pytest.mark.parametrize("test_set", [True, False])
def test_images_of_one_file_under_two_names(tmp_path, test_set):
    name = "test_batch" if test_set else "data_batch_4"
    content = layouts.cifar_records(60, 2).tobytes()
    extra = [(f"cifar-10-batches-bin/{name}.bin", content)]
    path = layouts.cifar(tmp_path / "x.tar.gz", extra=extra)
    with pytest.raises(RunError, match=rf"data_batch_2\.bin and {name}\.bin are the same images"):
        list(Image().read(Reading("archive", path, tmp_path / "scratch")))


def test_reviews_of_train_as_the_test_set(tmp_path):
    path = layouts.imdb(tmp_path / "a.tar.gz", train=30)
    everything = _archive.Expected(".*", "members", 10_000)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        for name, content in _archive.members(path, everything, ""):
            if not name.startswith("test"):
                layouts.add(tar, f"a/{name}", content)
                layouts.add(tar, f"a/{name.replace('train', 'test')}", content)
    with pytest.raises(RunError, match="60 of 60 test reviews are also in train"):
        list(Text().read(Reading("archive", tmp_path / "b.tar.gz", tmp_path / "scratch")))


@pytest.mark.parametrize("tries", [700, pytest.param(60_000, marks=pytest.mark.slow)])
def test_any_damage_is_a_line(tmp_path, tries):
    """Bytes changed, inserted and removed in archives, before and after packing."""
    rng = np.random.default_rng(0)
    parts = [member("aclImdb/README"), member("a" * 150), pax(b"one", comment="x" * 90)]
    good = b"".join([*parts, member(NAME[:-5] + "8.txt")])
    refused = 0
    for number in range(tries):
        content = damaged(rng, good + bytes(1024))
        packed = gzip.compress(content, 1, mtime=0)
        try:
            read(tmp_path, packed=damaged(rng, packed) if number % 3 == 0 else packed)
        except RunError:
            refused += 1
    assert refused > tries / 4


def damaged(rng, content):
    """Return the content with a few bytes of it changed, cut or repeated."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(max(len(changed), 1)))
        match rng.integers(5):
            case 0:
                del changed[place : place + int(rng.integers(1, 600))]
            case 1:
                changed[place:place] = changed[place : place + 512]
            case _:
                changed[place : place + 1] = rng.bytes(1)
    return with_checksums(bytes(changed)) if rng.integers(2) else bytes(changed)


def with_checksums(content):
    """Return the archive with the checksums of its headers made anew, block by block."""
    blocks = io.BytesIO(content)
    parts = []
    while block := blocks.read(512):
        if block[257:262] == b"ustar":
            total = sum(block[:148]) + sum(block[156:]) + 8 * 32
            block = block[:148] + b"%06o\0 " % (total % 8**6) + block[156:]
        parts.append(block)
    return b"".join(parts)
