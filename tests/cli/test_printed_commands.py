"""The commands that are printed for the user to run: each runs as it is printed."""

import shlex
import subprocess

import layouts
import pytest
from common import read_record

from lra_bench.data.location import locate
from lra_bench.display import command
from lra_bench.errors import RunError
from lra_bench.registry import make_task

pytestmark = pytest.mark.ci

# Few steps: what is tested is on which data the run trains.
SHORT = ("train.num_steps=2", "train.eval_every=2", "train.log_every=1")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A folder with spaces and quotes in its name, in the layout of the ListOps release."""
    return layouts.listops(tmp_path_factory.mktemp("a user's $HOME"))


def printed(out, before):
    """The words of the command that stands in the line that begins so."""
    (line,) = [line for line in out.splitlines() if before in line]
    program, *words = shlex.split(line.partition(before)[2])
    assert program == "lra-bench"
    return words


PREPARED = "to run on these data: "


@pytest.mark.parametrize("folder", ["data", "with a 'quote' and $x; y", "-x", ":car: \t\x1b[1m"])
@pytest.mark.parametrize(
    "options",
    [
        ("--preset", "smoke"),
        ("--preset=smoke", "--set", "data.train_size=96", "--set=data.seed=3"),
        ("--preset", "smoke", "--source", "PATH", "--set", "data.max_length=40"),
        ("--preset", "smoke", "--source", "PATH", "--set", "data.source=generate"),
        ("--set", "data.train_size=32", "--set", "data.test_size=8", "--set=data.max_length=80"),
    ],
)
def test_the_command_after_prepare_runs_on_these_data(
    cli, tmp_path, monkeypatch, release, folder, options
):
    """The run finds a complete store for its settings: nothing is left to prepare."""
    monkeypatch.chdir(tmp_path)
    stores = []

    def execute(settings, folder, data, *others, **more):
        task = make_task(settings.task, settings.data)
        stores.append(locate(data, task, settings.data_source))
        raise RunError("the run would train now")

    monkeypatch.setattr("lra_bench.training.run.execute", execute)
    words = [str(release) if word == "PATH" else word for word in options]
    status, out, err = cli("data", "prepare", "listops", *words, f"--data-dir={folder}")
    assert status == 0, err
    assert cli(*shell_words(out))[2] == "lra-bench: the run would train now\n"
    (store,) = stores
    assert store.exists()
    assert store.source == ("release" if "--source" in options else "generate")
    assert len(list((tmp_path / folder).rglob("manifest.json"))) == 1


def shell_words(out):
    """The words of the printed command as bash reads them."""
    (line,) = [line for line in out.splitlines() if PREPARED in line]
    call = line.partition(PREPARED)[2].removeprefix("lra-bench ")
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {call}"], capture_output=True, check=True, text=True
    )
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("action", ["check", "show"])
def test_the_command_where_data_are_missing_prepares_them(cli, tmp_path, monkeypatch, action):
    monkeypatch.chdir(tmp_path)
    options = ("--preset", "smoke", "--set", "data.seed=4", "--data-dir", "my data")
    status, _, err = cli("data", action, "listops", *options)
    assert status == 2
    assert cli(*printed(err, "prepare them with "))[0] == 0
    assert cli("data", action, "listops", *options)[0] == 0
    status, _, err = cli("data", action, "listops", *options, "--source", "release")
    words = printed(err.partition("; there are data of --source generate")[0], "prepare them with ")
    assert words == ["data", "prepare", "listops", "--source", "PATH", *reordered(options)]


def reordered(options):
    """The options as they are printed: settings come last."""
    return [*options[:2], *options[4:], *options[2:4]]


def test_the_command_after_prepare_trains(cli, tmp_path, monkeypatch, release):
    monkeypatch.chdir(tmp_path)
    sets = [f"--set={item}" for item in (*SHORT, "model.num_layers=1")]
    call = ("data", "prepare", "listops", "--preset", "smoke", "--source", release, *sets)
    status, out, err = cli(*call, "--data-dir", "my data")
    assert status == 0, err
    status, out, err = cli(*printed(out, PREPARED))
    assert status == 0, err
    (file,) = tmp_path.glob("runs/*/record.json")
    record = read_record(file)
    assert (record["data"]["source"], record["steps"]) == ("release", 2)


def test_run_and_data_have_one_default_preset():
    from lra_bench.cli import parser

    presets = {
        parser().parse_args(words).preset
        for words in (["run"], ["data", "prepare", "text"], ["sweep"])
    }
    assert presets == {"mini"}


@pytest.mark.parametrize("word", ["a b", "", "it's", "\x1b[31m", "a\nb", "\udcff\\n", "é", "$(x)"])
def test_a_word_reaches_the_command_unchanged(word):
    line = command.command(word, "next")
    assert "\n" not in line
    assert "\x1b" not in line
    call = line.removeprefix("lra-bench ")
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {call}"], capture_output=True, check=True)
    assert done.stdout.split(b"\0")[:-1] == [word.encode(errors="surrogateescape"), b"next"]


@pytest.mark.parametrize("words", [("data", "prepare", "text"), ("run", "--task", "text")])
def test_a_failed_download_says_how_to_prepare_from_a_file(cli, tmp_path, monkeypatch, words):
    monkeypatch.setattr("lra_bench.data.download._ask", lambda _: OSError("no network"))
    monkeypatch.chdir(tmp_path)
    options = ("--preset", "smoke", "--data-dir", "my data", "--set", "data.max_length=40")
    status, _, err = cli(*words, *options)
    assert status == 1
    assert "can't be downloaded (no network)" in err
    assert printed(err, "elsewhere, then ") == [
        "data", "prepare", "text", "--source", "PATH", *options
    ]  # fmt: skip


def test_what_cannot_be_downloaded_says_how_to_prepare_it(cli):
    options = ("--preset", "smoke", "--data-dir", "d", "--set", "data.max_length=40")
    status, _, err = cli("data", "prepare", "listops", "--source", "download", *options)
    assert status == 2
    assert err.rstrip().endswith(f"listops --source PATH {' '.join(options)}")
