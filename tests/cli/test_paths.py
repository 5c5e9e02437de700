"""Paths that users type: "~", and paths that cannot be what they have to be."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from common import SMOKE, refused

from lra_bench import cli as command_line
from lra_bench.cli import parser, paths
from lra_bench.data.location import data_root
from lra_bench.efficiency import supervise
from lra_bench.errors import UsageError
from lra_bench.runtime.environment import Environment

# Each option that takes a path, with a call that would use it.
OUTPUTS = {
    "run --out": (*SMOKE, "--out"),
    "run --data-dir": (*SMOKE, "--data-dir"),
    "sweep --out": ("sweep", "--preset", "smoke", "--tasks", "listops", "--out"),
    "sweep --data-dir": ("sweep", "--preset", "smoke", "--out", "x", "--data-dir"),
    "ablate --out": ("ablate", "kernels", "--preset", "smoke", "--task", "listops", "--out"),
    "efficiency --out": ("efficiency", "--attentions", "linear", "--lengths", "64", "--out"),
    "report --out": ("report", ".", "--out"),
    "analyze variance --out": ("analyze", "variance", "--samples", "100", "--dim", "2", "--out"),
    "analyze matrix --out": ("analyze", "matrix", ".", "--out"),
    "analyze similarity --out": ("analyze", "similarity", ".", "--out"),
    "data prepare --data-dir": ("data", "prepare", "listops", "--preset", "smoke", "--data-dir"),
    "data check --data-dir": ("data", "check", "listops", "--preset", "smoke", "--data-dir"),
}
INPUTS = {
    "table DIR": ("table",),
    "report DIR": ("report", "--out", "x"),
    "submit-check DIR": ("submit-check",),
    "sweep --status": ("sweep", "--status"),
    "analyze matrix RUN_DIR": ("analyze", "matrix", "--out", "x"),
    "analyze similarity RUN_DIR": ("analyze", "similarity", "--out", "x"),
    "data --source": ("data", "prepare", "listops", "--preset", "smoke", "--source"),
}
OTHERS = {
    "run --init-from": (*SMOKE, "--init-from"),
    "data --out": ("data", "show", "image", "--preset", "smoke", "--out"),
}
HOST = supervise.Host(1, 2**33, Environment(platform="cpu"), "")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file, a folder, and links that lead nowhere or in a circle."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(supervise, "describe", lambda *_: HOST)
    (folder / "file").write_text("precious")
    (folder / "dangling").symlink_to("nothing")
    (folder / "circle").symlink_to("round")
    (folder / "round").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    return folder


BAD = {
    "": "is empty",
    "a\0b": "NUL",
    "~nobody-of-that-name/x": "there is no home folder ~nobody-of-that-name",
    "circle": "links that lead in a circle",
    "circle/x": "links that lead in a circle",
    "n" * 300: "too long a name",
    "/".join(["n" * 200] * 30): "too long a name",
    "file/x": "a part of it is a file, not a folder",
    "/dev/null/x": "a part of it is a file, not a folder",
    "/dev/full": "a device, a pipe or a socket",
    "pipe": "a device, a pipe or a socket",
    "dangling": "a link to 'nothing', which does not exist",
    "dangling/x": "a link to 'nothing', which does not exist",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:30]))
@pytest.mark.parametrize("option", [*OUTPUTS, *INPUTS, *OTHERS])
def test_a_path_that_nothing_can_be_at_is_refused_at_once(cli, here, option, text):
    before = sorted(here.rglob("*"))
    result = cli(*{**OUTPUTS, **INPUTS, **OTHERS}[option], text)
    refused(result, 2, BAD[text])
    assert "Errno" not in result[2]
    if option != "data --source":
        named = option.split()[-1]
        assert (repr(text) if text in ("", "a\0b") else text) in result[2]
        assert named in result[2] or named.isupper()
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_file_is_no_folder_for_output(cli, here, option):
    refused(cli(*OUTPUTS[option], "file"), 2, option.split()[-1], "is a file")


@pytest.mark.parametrize("option", INPUTS)
def test_an_input_has_to_be_there(cli, here, option):
    refused(cli(*INPUTS[option], "nowhere"), 2, "nowhere: no such file or folder")


def test_a_picture_is_no_folder(cli, here):
    (here / "folder.png").mkdir()
    refused(cli(*OTHERS["data --out"], "folder.png"), 2, "--out folder.png: a folder, not a file")


@pytest.mark.parametrize("name", ["record.json", "config.json", "sweep.json", "link.json"])
@pytest.mark.parametrize("words", [("table", ".", "--format=json"), ("export", "--schema=record")])
def test_a_file_of_a_run_is_not_overwritten(cli, here, words, name):
    """A table may be JSON, so its file may be called like a record."""
    (here / "link.json").symlink_to("record.json")
    for own in ("record.json", "config.json", "sweep.json"):
        (here / own).write_text("precious")
    refused(
        cli(*words, "--out", name), 2, f"--out {name}: is there already, a file of lra-bench's own"
    )
    assert (here / name).read_text() == "precious"


@pytest.mark.parametrize("option", [name for name in OUTPUTS if "check" not in name])
def test_a_folder_that_cannot_be_made_is_named(cli, here, option, monkeypatch):
    """The file system of /proc takes no new folders, whoever asks."""
    if any(word in option for word in ("report", "matrix", "similarity")):
        pytest.skip("needs records")
    if option == "sweep --data-dir":
        pytest.skip("a run of the sweep says so")
    result = cli(*OUTPUTS[option], "/proc/new")
    refused(result, 2, f"{option.split()[-1]} /proc/new: can't be used: no such file or folder")


def test_home_is_expanded_in_every_option(monkeypatch, tmp_path):
    """Also where the shell does not, as in --out=~/x."""
    monkeypatch.setenv("HOME", str(tmp_path))
    expanded = {}
    for option, words in {**OUTPUTS, **INPUTS, **OTHERS}.items():
        if option == "data --source":
            continue
        last = words[-1]
        call = [*words[:-1], f"{last}=~/x"] if option.split()[-1] == last else [*words, "~/x"]
        values = vars(parser().parse_args(call)).values()
        flat = [
            each for value in values for each in (value if isinstance(value, list) else [value])
        ]
        expanded[option] = tmp_path / "x" in flat
    assert set(expanded.values()) == {True}, expanded
    compared = parser().parse_args(["table", "--compare", "~/a", "linear"]).compare
    assert compared == [str(tmp_path / "a"), "linear"]


def test_home_is_expanded_in_the_source_and_in_the_environment(cli, here, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(here))
    result = cli("data", "prepare", "listops", "--source=~/file", "--preset", "smoke")
    refused(result, 1, f"{here}/file")
    monkeypatch.setenv("LRA_BENCH_DATA", "~/data")
    assert data_root(None) == here / "data"
    monkeypatch.setenv("LRA_BENCH_DATA", "~nobody-of-that-name/data")
    with pytest.raises(UsageError, match="there is no home folder ~nobody-of-that-name"):
        data_root(None)
    refused(cli(*SMOKE), 2, "there is no home folder")


def test_every_argument_that_takes_a_path_is_checked():
    """No command has a plain `type=Path`."""

    def leaves(each):
        return [leaf for below in each.commands().values() for leaf in leaves(below)] or [each]

    types = [action.type for leaf in leaves(parser()) for action in leaf.actions]
    assert Path not in types
    assert sum(isinstance(each, paths.PathArgument) for each in types) >= 19


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (errno.EACCES, 2, "--out x: can't be used: permission denied (at "),
        (errno.EROFS, 2, "--out x: can't be used: on a file system that can only be read (at "),
        (errno.ENAMETOOLONG, 2, "--out x: can't be used: too long a name"),
        (errno.ENOSPC, 1, "no space left on the disk of x/y"),
        (errno.EDQUOT, 1, "no space left on the disk of x/y"),
        (errno.EIO, 1, "x/y: Input/output error"),
        (errno.EMFILE, 1, "x/y: Too many open files"),
        (errno.EFBIG, 1, "x/y: a file would be larger than the shell's limit (ulimit -f)"),
    ],
)
def test_errors_of_the_system(cli, here, monkeypatch, code, status, words):
    def fail(*_):
        raise OSError(code, os.strerror(code), "x/y")

    monkeypatch.setattr(command_line.run, "main", fail)
    result = cli(*SMOKE, "--out", "x")
    refused(result, status, words)
    assert "Errno" not in result[2]


def test_a_closed_working_folder_is_left_by_out(cli, here, monkeypatch):
    def fail(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "runs")

    monkeypatch.setattr(command_line.run, "main", fail)
    words = f"{here}/runs: can't be used: permission denied; choose another place with --out"
    refused(cli(*SMOKE), 2, words)


def test_a_removed_working_folder_is_named(cli, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    refused(cli(*SMOKE), 2, "the working folder was removed; change to another with cd")


def test_a_file_of_the_program_is_not_blamed_on_the_user(cli, here, monkeypatch):
    def fail(*_):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/usr/lib/lost")

    monkeypatch.setattr(command_line.run, "main", fail)
    refused(cli(*SMOKE, "--out", "x"), 1, "/usr/lib/lost: no such file or folder")


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("--version",)])
def test_a_full_disk_behind_standard_output(environment, words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lra_bench", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "lra-bench: no space left on the disk that is written to\n"


@pytest.mark.parametrize(
    ("words", "closed", "status"),
    [("list tasks", ">&-", 0), ("list tusks", ">&- 2>&-", 2), ("--version", "<&- >&- 2>&-", 0)],
)
def test_standard_streams_may_be_closed(environment, words, closed, status):
    command = f"{sys.executable} -m lra_bench {words} {closed}"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.ci
@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv"
)
class TestPermissions:
    """Another user meets folders of root."""

    @pytest.fixture
    def as_nobody(self, environment, tmp_path):
        home = Path("/tmp") / f"lra-bench-test-{os.getpid()}"
        home.mkdir(mode=0o755)
        for name, mode in (("closed", 0o700), ("readable", 0o755)):
            (home / name).mkdir(mode=mode)
        call = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        packages = [path for path in sys.path if path]
        own = {"PYTHONPATH": ":".join(packages), "LRA_BENCH_DATA": str(home / "readable")}

        def run(*words):
            done = subprocess.run(
                [*call, sys.executable, "-m", "lra_bench", *words],
                env={**environment, **own},
                capture_output=True,
                text=True,
                cwd=home,
            )
            return done.returncode, done.stdout, done.stderr

        yield run
        shutil.rmtree(home)

    def test_all(self, as_nobody):
        table = as_nobody("table", "closed")
        if "No module named" in table[2] or "Permission denied" in table[2]:
            pytest.skip("another user cannot read this Python")
        refused(table, 2, "closed: permission denied")
        refused(as_nobody(*SMOKE, "--out", "closed/x"), 2, "--out closed/x: permission denied")
        run = as_nobody("data", "prepare", "listops", "--preset", "smoke")
        refused(
            run, 2, "can't write to", "(Permission denied)", "--data-dir DIR or $LRA_BENCH_DATA"
        )


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--config", "c-\udcff.yaml"),
        ("run", "--attention", "x-\udcff.py"),
        ("run", "--out", "r-\udcff"),
        ("data", "prepare", "listops", "--source", "s-\udcff"),
    ],
)
def test_a_name_that_no_record_can_hold_is_refused(cli, monkeypatch, tmp_path, words):
    """Python reads bytes that are not UTF-8 so."""
    monkeypatch.chdir(tmp_path)
    for name in words:
        if "\udcff" in name:
            (tmp_path / name).touch()
    assert "which is not UTF-8; rename it" in cli(*words)[2]
