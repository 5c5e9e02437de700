"""An attention or a task from a file of the user: what it is called, and what is wrong with it."""

import pytest
from own_files import ATTENTION, write_attention, write_task

from lra_bench.config import make_settings
from lra_bench.data.location import locate
from lra_bench.errors import UsageError
from lra_bench.files import json_files
from lra_bench.files.atomic import write_atomically
from lra_bench.records import run_folder
from lra_bench.records.run_folder import RunFolder
from lra_bench.registry import ATTENTIONS, TASKS, make_task
from lra_bench.runtime.source_files import is_reference, split

HEAD = "from lra_bench.registry import register_attention\n"
# What the file holds, and what is said of it after its path.
BROKEN = {
    "syntax": ("x = 1\ndef f(:\n", ", line 2: SyntaxError: invalid syntax"),
    "import": ("import numpyy\n", ", line 1: ModuleNotFoundError: No module named 'numpyy'"),
    "its-folder": ("\nimport neighbour\n", ", line 2: ModuleNotFoundError"),
    "exits": ("import sys\nsys.exit(3)\n", ", line 2: SystemExit: 3"),
    "arguments": (
        f"{HEAD}@register_attention('it')\ndef f(q, k): return q\n",
        ", line 2: ValueError: attention 'it' can't be called with (q, k, v, mask)",
    ),
    "taken": (
        f"{HEAD}@register_attention('linear')\ndef f(q, k, v, mask): return v\n",
        "attention 'linear' is registered twice: by lra_bench.attentions.linear and by ",
    ),
    "nothing": ("x = 1\n", ' registers no attention: put @register_attention("my-name") above'),
    "two": (
        f"{HEAD}@register_attention('b')\n@register_attention('a')\ndef f(q, k, v, mask): return v",
        " registers 2 attentions; name one: {0}:a, {0}:b",
    ),
}


@pytest.mark.parametrize("text", ["a.py", "a b/c.py", "a.py:name", "~/a.py:x-y", "a:b.py"])
def test_a_file_is_told_from_a_name(text):
    assert is_reference(text)


@pytest.mark.parametrize("text", ["linear", "py", "a.pyc", "a/b", ""])
def test_a_name_is_told_from_a_file(text):
    assert not is_reference(text)


def test_a_name_follows_the_last_colon():
    assert split("c:a.py:b") == ("c:a.py", "b")
    assert split("c:a.py") == ("c:a.py", None)


def test_the_name_in_a_file(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    assert ATTENTIONS.named(str(path)) == ATTENTIONS.named(f"{path}:mine") == "mine"
    entry = ATTENTIONS.get("mine")
    assert entry.file.path == path
    assert entry.options() == {"scale": 1.0}
    assert entry.summary == "Return the mean of the real values."
    assert ATTENTIONS.named("linear") == "linear"


def test_a_file_that_was_edited_takes_the_place_of_its_old_self(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    ATTENTIONS.named(str(path))
    old = ATTENTIONS.get("mine")
    path.write_text(path.read_text().replace("scale: float = 1.0", "scale: float = 2.0"))
    ATTENTIONS.named(str(path))
    new = ATTENTIONS.get("mine")
    assert (old.options(), new.options()) == ({"scale": 1.0}, {"scale": 2.0})
    write_attention(path)
    ATTENTIONS.named(str(path))
    assert ATTENTIONS.get("mine") == old
    assert ATTENTIONS.get("mine").target is old.target


def test_a_copy_of_a_file_is_the_same_mechanism_at_another_place(tmp_path):
    files = [write_attention(tmp_path / f"{x}.py") for x in "ab"]
    for path in files:
        ATTENTIONS.named(str(path))
        assert ATTENTIONS.get("mine").file.path == path
    (tmp_path / "a.py").unlink()
    assert make_settings("listops", "mine", "smoke", 0).attention_file.name == "b.py"


def test_the_code_of_a_file_runs_once(tmp_path, capsys):
    path = write_attention(tmp_path / "once.py", change="import sys\nsys.stderr.write('ran ')\n")
    for _ in range(2):
        ATTENTIONS.named(str(path))
    assert capsys.readouterr().err == "ran "


def test_what_a_file_imports_stays_the_package_s(tmp_path):
    change = "\nfrom lra_bench.attentions.aft_simple import aft_simple\n"
    path = write_attention(tmp_path / "mine.py", change=change)
    assert ATTENTIONS.named(str(path)) == "mine"
    assert ATTENTIONS.get("aft-simple").file is None


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(name, tmp_path):
    text, said = BROKEN[name]
    path = tmp_path / "broken.py"
    (tmp_path / "neighbour.py").write_text("")
    path.write_text(text)
    before = ATTENTIONS.names()
    with pytest.raises(UsageError) as caught:
        ATTENTIONS.named(str(path))
    message = str(caught.value)
    assert f"{path}" in message
    assert said.format(path) in message
    assert "\n" not in message
    assert set(ATTENTIONS.names()) - set(before) <= {"a", "b"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda path: None,
            "no such file; lra-bench new attention NAME or new task NAME",
        ),
        (lambda path: path.mkdir(), "a folder, not a file"),
        (lambda path: path.write_bytes(b"x = 1\n\xff\n"), "line 2: not UTF-8 text"),
        (lambda path: path.write_text("#" * 2**21), "larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read(make, said, tmp_path):
    make(tmp_path / "it.py")
    with pytest.raises(UsageError, match=said):
        ATTENTIONS.named(str(tmp_path / "it.py"))


def test_a_name_that_the_file_lacks(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    with pytest.raises(UsageError, match=r"mine.py 'mien'; did you mean 'mine'\? valid: mine"):
        ATTENTIONS.named(f"{path}:mien")


def test_two_files_with_one_name_do_not_go_into_one_sweep(tmp_path):
    files = [write_attention(tmp_path / f"{x}.py", change=f"# {x}\n") for x in "ab"]
    with pytest.raises(UsageError, match=r"a.py and .*b.py both register attention mine; rename"):
        ATTENTIONS.all_named(list(map(str, files)))
    assert ATTENTIONS.all_named([str(files[0]), "linear", "linear"]) == ["mine", "linear"]


def test_a_name_in_a_record_runs_no_code(tmp_path):
    path = tmp_path / "evil.py"
    path.write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n{ATTENTION}")
    for look_up in (ATTENTIONS.get, TASKS.get):
        with pytest.raises(UsageError, match="unknown"):
            look_up(str(path))
    with pytest.raises(UsageError, match="unknown attention"):
        make_settings("listops", str(path), "smoke", 0)
    assert not (tmp_path / "ran").exists()


def test_the_settings_hold_the_checksum_and_the_defaults(tmp_path):
    path = write_attention(tmp_path / "mine.py")
    name = ATTENTIONS.named(str(path))
    settings = make_settings("listops", name, "smoke", 0, ["attention.scale=0.5"])
    assert settings.attention_file.name == "mine.py"
    assert settings.attention_file.sha256 == ATTENTIONS.get("mine").file.sha256
    assert settings.attention_file.options == {"scale": 1.0}
    assert settings.task_file is None
    assert "task_file" not in settings.as_dict()
    assert "attention_file" not in make_settings("listops", "linear", "smoke", 0).as_dict()


def test_a_task_in_a_file_has_its_presets_there(tmp_path):
    name = TASKS.named(str(write_task(tmp_path / "ends.py")))
    settings = make_settings(name, "linear", "smoke", 0, ["data.size=100"])
    assert (settings.task, settings.data["size"]) == ("same-ends", 100)
    assert settings.task_file.options["length"] == 256


def test_the_data_of_an_edited_task_are_made_anew(tmp_path):
    path, places = write_task(tmp_path / "ends.py"), []
    for _ in range(2):
        name = TASKS.named(str(path))
        places.append(locate(tmp_path, make_task(name, {}), "generate").path)
        path.write_text(path.read_text() + "# edited\n")
    assert places[0] != places[1]


class Killed(BaseException):
    """In place of SIGKILL."""


def test_a_run_that_was_killed_before_the_copies_were_made_goes_on(tmp_path, monkeypatch):
    """The config is written first: a folder that has other files but no config holds no run."""

    def write_and_die(path, text):
        write_atomically(path, text)
        raise Killed

    reference = ATTENTIONS.named(str(write_attention(tmp_path / "mine.py")))
    settings = make_settings("listops", reference, "smoke", 0)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with monkeypatch.context() as patch:
        for module in (run_folder, json_files):
            patch.setattr(module, "write_atomically", write_and_die)
        with pytest.raises(Killed):
            folder.start(settings)
    assert folder.check(settings, resume=True) is None
    folder.start(settings)
    assert (folder.path / "attention.py").read_text() == (tmp_path / "mine.py").read_text()
