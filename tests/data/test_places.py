"""Folders of data that can't be found, written to or locked: a way on, or a line that names one."""

import errno
import fcntl
import io
import os
import shutil
from pathlib import Path

import pytest

from lra_bench.files import locks
from lra_bench.files.locks import locked

OPTIONS = ("--preset", "smoke")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of data that holds those of listops."""
    from lra_bench.cli import main

    folder = tmp_path_factory.mktemp("root")
    assert main(["data", "prepare", "listops", *OPTIONS, f"--data-dir={folder}"]) == 0
    return folder


@pytest.fixture
def homeless(monkeypatch):
    """Make the user one without $HOME and without an entry of its own in the list of users."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
class TestHomeless:
    @pytest.mark.parametrize("command", [("data", "prepare", "listops"), ("data", "check", "text")])
    def test_a_place_for_data_is_asked_for(self, cli, monkeypatch, command):
        monkeypatch.setenv("LRA_BENCH_DATA", "")
        status, out, err = cli(*command, *OPTIONS)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert f"user {os.getuid()} has no home folder, and $HOME is not set" in err
        assert err.endswith("choose a folder of data with --data-dir DIR or $LRA_BENCH_DATA\n")

    def test_the_given_place_is_taken(self, cli, root, tmp_path):
        assert cli("data", "check", "listops", *OPTIONS, "--data-dir", root)[0] == 0

    @pytest.mark.parametrize("option", ["--data-dir", "--source"])
    def test_a_home_that_is_asked_for(self, cli, option):
        status, _, err = cli("data", "prepare", "text", *OPTIONS, option, "~/x")
        assert status == 2
        assert f"~/x: user {os.getuid()} has no home folder" in err
        assert len(err.splitlines()) == 1


@pytest.fixture(params=[errno.EROFS, errno.EACCES])
def read_only(root, request, monkeypatch):
    """Let nothing be written below `root`: root may write where the mode forbids it."""

    def refuse(path):
        if str(path).startswith(str(root)):
            raise OSError(request.param, os.strerror(request.param), str(path))

    def open_(path, mode="r", *rest, usual=io.open, **options):
        if set(mode) & set("wax+"):
            refuse(path)
        return usual(path, mode, *rest, **options)

    def mkdir(path, *rest, usual=os.mkdir, **options):
        if not Path(path).exists():
            refuse(path)
        usual(path, *rest, **options)

    monkeypatch.setattr(io, "open", open_)
    monkeypatch.setattr(os, "mkdir", mkdir)
    return request.param


class TestReadOnly:
    def test_what_is_there_is_enough(self, cli, root, read_only, tmp_path):
        place = ("--data-dir", root)
        for command in (("prepare",), ("prepare", "--source=generate"), ("check",), ("show",)):
            action, *rest = command
            status, _, err = cli("data", action, "listops", *OPTIONS, *place, *rest)
            assert (status, err) == (0, "")

    def test_what_is_missing_needs_another_place(self, cli, root, read_only):
        options = ("--set=data.seed=1", "--data-dir", root)
        status, _, err = cli("data", "prepare", "listops", *OPTIONS, *options)
        assert status == 2
        assert len(err.splitlines()) == 1
        assert os.strerror(read_only) in err
        assert err.startswith(f"lra-bench: can't write to {root}")
        assert err.endswith("choose a folder of data with --data-dir DIR or $LRA_BENCH_DATA\n")


def test_a_source_that_cannot_be_read_is_not_taken_for_the_store(cli, tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("lra_bench.data.prepare.sha256", refused)
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(b"x")
    options = ("--source", tmp_path, "--data-dir", tmp_path / "data")
    status, _, err = cli("data", "prepare", "text", *OPTIONS, *options)
    assert status in (1, 2)
    assert "--data-dir" not in err
    assert "aclImdb_v1.tar.gz" in err


NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]


class TestNoLocks:
    @pytest.fixture(autouse=True, params=NO_LOCKS)
    def no_locks(self, request, monkeypatch):
        def flock(file, operation):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(locks, "_warned", set())
        return request.param

    @pytest.mark.parametrize("wait", [True, False])
    def test_the_block_runs_after_one_warning(self, tmp_path, capsys, no_locks, wait):
        for _ in range(3):
            with locked(tmp_path / "a/.lock", wait=wait) as ours:
                assert ours
        assert capsys.readouterr().err == (
            f"lra-bench: {tmp_path}/a is on a file system without locks ({os.strerror(no_locks)}): "
            "start one command at a time there, or choose a folder on another file system\n"
        )

    def test_data_are_prepared(self, cli, tmp_path, no_locks):
        options = ("--data-dir", tmp_path)
        status, out, err = cli("data", "prepare", "listops", *OPTIONS, *options)
        assert (status, len(err.splitlines())) == (0, 1)
        assert "prepared listops" in out


def test_other_failures_of_locks_are_not_hidden(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path / ".lock", wait=False):
        pass


def test_a_damaged_store_in_a_folder_that_cannot_be_written(cli, root, read_only, tmp_path):
    """It is named, and so is the way on."""
    file = next(root.rglob("train/labels.npy"))
    kept = shutil.copy(file, tmp_path)
    try:
        os.truncate(file, 200)
        status, out, err = cli("data", "prepare", "listops", *OPTIONS, "--data-dir", root)
    finally:
        shutil.copyfile(kept, tmp_path / "whole")
        os.truncate(file, 0)
        descriptor = os.open(file, os.O_WRONLY)
        os.write(descriptor, (tmp_path / "whole").read_bytes())
        os.close(descriptor)
    assert status == 2
    assert "doesn't match its checksum; preparing the data again" in out
    assert "choose a folder of data with --data-dir" in err
