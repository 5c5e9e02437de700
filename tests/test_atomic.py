"""Files are written as a whole or not at all, and what is there keeps its place and its mode."""

import errno
import os

import pytest

from lra_bench.files.atomic import write_atomically


def test_text_and_bytes(tmp_path):
    write_atomically(tmp_path / "a", "größe\n")
    write_atomically(tmp_path / "b", b"\xff")
    assert (tmp_path / "a").read_bytes() == "größe\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\xff"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_private_file_stays_private(tmp_path):
    file = tmp_path / "private"
    file.write_text("old")
    file.chmod(0o600)
    write_atomically(file, "new")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o600)


def test_a_link_is_followed(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to("file")
    write_atomically(link, "new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    file = tmp_path / ("ü" * 126 + ".md")
    write_atomically(file, "x")
    assert file.read_text() == "x"


@pytest.mark.parametrize(
    ("name", "number"), [("x" * 300, errno.ENAMETOOLONG), ("away/x", errno.ENOENT)]
)
def test_an_error_names_the_file_and_leaves_nothing(tmp_path, name, number):
    with pytest.raises(OSError, match=r".") as caught:
        write_atomically(tmp_path / name, "x")
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_an_old_file_stays_if_the_new_one_is_not_complete(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomically(file, "new")
    assert caught.value.filename == str(file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
