"""A store is compared with its manifest, its task and itself; a manifest alone proves nothing."""

import contextlib
import json
import os
import shutil

import numpy as np
import pytest
from junk import with_junk
from stores import edit, prepared, replace_array

from lra_bench.data.location import locate
from lra_bench.data.manifest import read_manifest
from lra_bench.data.store import _open_array, open_store
from lra_bench.errors import RunError
from lra_bench.tasks.listops import ListOps

TASK = ListOps(40, 8, 8, 3, 40)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("original"), TASK, "generate")


@pytest.fixture
def location(original, tmp_path):
    """A copy of a good store."""
    shutil.copytree(original.root, tmp_path, dirs_exist_ok=True)
    return locate(tmp_path, TASK, "generate")


def more_examples(fields):
    fields["splits"]["train"]["examples"] += 400


def more_labels_too(fields):
    more_examples(fields)
    fields["splits"]["train"]["label_histogram"][0] += 400


def other_labels(fields):
    counts = fields["splits"]["train"]["label_histogram"]
    counts[0], counts[1] = counts[0] + 1, counts[1] - 1


def no_files(fields):
    fields["splits"]["test"]["files"] = {}


def one_file(fields):
    del fields["splits"]["test"]["files"]["labels.npy"]


def no_split(fields):
    del fields["splits"]["validation"]


def file_elsewhere(fields):
    files = fields["splits"]["test"]["files"]
    files["../../../x"] = files.pop("labels.npy")


def other_options(fields):
    fields["options"]["seed"] = 1


def other_version(fields):
    fields["version"] += 1


def other_source(fields):
    fields["source"] = "release"


EDITS = {
    "examples": (more_examples, "440 examples, 40 labels"),
    "examples and labels": (more_labels_too, r"tokens\.npy is uint8 \(40, 40\), must be .*\(440, "),
    "labels": (other_labels, "holds other labels than its manifest says"),
    "no files": (no_files, r"test files must be tokens\.npy, labels\.npy"),
    "one file": (one_file, r"test files must be tokens\.npy, labels\.npy"),
    "no validation": (no_split, "splits must be train, validation, test"),
    "file elsewhere": (file_elsewhere, r"test files must be tokens\.npy, labels\.npy"),
    "options": (other_options, "describes other data than listops's"),
    "version": (other_version, "describes other data than listops's"),
    "source": (other_source, "describes other data than listops's"),
}


@pytest.mark.parametrize("seal", [False, True])
@pytest.mark.parametrize("kind", EDITS)
def test_what_the_arrays_do_not_bear_out_is_refused(location, kind, seal):
    change, message = EDITS[kind]
    edit(location, change, seal=seal)
    with pytest.raises(RunError, match=message):
        open_store(location)


@pytest.mark.parametrize("key", ["notes", "path", "official", "split_rule", "inputs"])
def test_any_edit_is_noticed_by_the_checksum(location, key):
    fields = json.loads(location.manifest.read_text())
    other = {"notes": ["x"], "path": "/x", "official": True, "split_rule": "x", "inputs": {}}
    fields[key] = other[key] if fields[key] != other[key] else {"a": "0" * 64}
    location.manifest.write_text(json.dumps(fields))
    with pytest.raises(RunError, match="does not match its checksum: changed after it was written"):
        open_store(location)


@pytest.mark.parametrize("seal", [False, True])
def test_official_is_never_believed(location, seal):
    edit(location, lambda fields: fields.update(official=True), seal=seal)
    assert read_manifest(location).official
    assert open_store(location).provenance().official is False


def test_a_manifest_without_checksum_is_read(location, original):
    """Those of version 0.2.0 and earlier are."""
    edit(location, lambda fields: None, seal=False)
    assert open_store(location).provenance() == open_store(original).provenance()


TOKENS = np.ones((8, 40), np.uint8)
LABELS = np.arange(8, dtype=np.int32)
ARRAYS = {
    "int64 tokens": ("tokens.npy", TOKENS.astype(np.int64), r"is int64 \(8, 40\), must be uint8"),
    "float tokens": ("tokens.npy", TOKENS.astype(np.float32), "is float32"),
    "shorter": ("tokens.npy", TOKENS[:, :39], r"is uint8 \(8, 39\), must be .* \(8, 40\)"),
    "paired": ("tokens.npy", np.stack([TOKENS, TOKENS], 1), r"\(8, 2, 40\)"),
    "fewer": ("tokens.npy", TOKENS[:7], r"\(7, 40\)"),
    "order": ("tokens.npy", np.asfortranarray(TOKENS), "in the order of Fortran"),
    "other bytes' order": ("tokens.npy", TOKENS.astype(">u2"), "in another byte order, must"),
    "no array": ("tokens.npy", b"words", "not a .npy file"),
    "version 3": ("tokens.npy", b"\x93NUMPY\3\0", r"format version 3\.0, must be 1\.0 or 2\.0"),
    "objects": ("tokens.npy", TOKENS.astype(object), "holds Python objects, which are not read"),
    "int64 labels": ("labels.npy", LABELS.astype(np.int64), "is int64"),
    "label 10": ("labels.npy", LABELS + 3, r"a label outside 0\.\.9"),
    "label -1": ("labels.npy", LABELS - 1, r"a label outside 0\.\.9"),
    "column": ("labels.npy", LABELS[:, None], r"\(8, 1\)"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_another_form_are_refused(location, kind):
    file, array, message = ARRAYS[kind]
    replace_array(location, "test", file, array)
    with pytest.raises(RunError, match=message) as caught:
        open_store(location)
    assert "remove the folder" in str(caught.value)


def test_ids_beyond_the_vocabulary(location, cli):
    """`data check` finds them; so does each opening of a store whose manifest has no checksum."""
    replace_array(location, "test", "tokens.npy", np.full((8, 40), 16, np.uint8))
    open_store(location)
    options = [f"--set=data.{k}={v}" for k, v in TASK.data_options("generate").items()]
    status, out, _ = cli("data", "check", "listops", "--data-dir", location.root, *options)
    assert status == 1
    assert "WRONG test tokens        an id of 16, must be 0 to 15" in out
    edit(location, lambda fields: None, seal=False)
    with pytest.raises(RunError, match=r"a token outside 0\.\.15"):
        open_store(location)


@pytest.mark.parametrize("damage", ["truncated", "manifest", "seal", "fifo"])
def test_preparing_makes_a_damaged_store_again(location, original, cli, damage):
    tokens = location.path / "train/tokens.npy"
    match damage:
        case "truncated":
            tokens.write_bytes(tokens.read_bytes()[:-1])
        case "manifest":
            location.manifest.write_text("{")
        case "seal":
            location.manifest.write_text(location.manifest.read_text().replace("false", "true"))
        case _:
            tokens.unlink()
            os.mkfifo(tokens)
    options = [f"--set=data.{k}={v}" for k, v in TASK.data_options("generate").items()]
    status, out, err = cli("data", "prepare", "listops", "--data-dir", location.root, *options)
    assert status == 0, err
    assert "preparing the data again" in out
    assert "already prepared" not in out
    assert open_store(location).provenance() == open_store(original).provenance()
    status, out, err = cli("data", "prepare", "listops", "--data-dir", location.root, *options)
    assert "already prepared: listops" in out


def only_a_line(location):
    """Open the store; return what is said of it, in a line, or an empty text."""
    said = ""
    try:
        open_store(location)
    except RunError as error:
        said = str(error)
    assert "\n" not in said
    return said


HALVES = [
    (0, False), (1, True), pytest.param(1, False, marks=pytest.mark.slow),
    pytest.param(0, True, marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.ci
@pytest.mark.parametrize(("half", "seal"), HALVES)
def test_junk_anywhere_in_a_manifest_is_a_line(location, original, half, seal):
    fields = json.loads(location.manifest.read_text())
    del fields["checksum"]
    refused = []
    for changed in with_junk(fields, half):
        shutil.copy(original.manifest, location.manifest)
        edit(location, lambda old, new=changed: (old.clear(), old.update(new)), seal=seal)
        refused.append(bool(only_a_line(location)))
    assert len(refused) > 120
    assert np.mean(refused) > 0.9


TEXTS = [
    "[" * 100_000, "{}", '{"schema": 2}', "\ud800", '"\\ud800"', '{"a": "\\ud800"}',
    "1" + "0" * 5000, '{"schema": 1' + "0" * 400 + "}", "null", "NaN", "\0",
    '{"schema": 1e999}', "",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_no_manifest_at_all(location, text):
    location.manifest.write_bytes(text.encode(errors="surrogatepass"))
    assert only_a_line(location)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "loop", "large"])
def test_a_manifest_that_is_no_file(location, kind):
    path = location.manifest
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case _:
            path.touch()
            os.truncate(path, 2**40)
    if kind == "loop":
        assert not location.exists()
    else:
        assert only_a_line(location)


@pytest.mark.parametrize("tries", [400, pytest.param(40_000, marks=pytest.mark.slow)])
def test_damaged_headers_of_arrays_are_a_line(location, tries):
    """Bytes changed in the headers of .npy files."""
    rng = np.random.default_rng(0)
    file = location.path / "test/tokens.npy"
    good = file.read_bytes()
    for _ in range(tries):
        content = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(128)] = rng.integers(256)
        file.write_bytes(content)
        with contextlib.suppress(ValueError):
            array = _open_array(file, ("uint8", "uint16"), 8, (40,))
            assert array.tobytes() == good[-320:]


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 40), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-8, -40), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (10" + "0" * 4000 + ",), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (8, 40), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (40,), }",
        "[" * 9_000,
        "-" * 9_000 + "1",
        "\xff\xfe",
        "{'descr': " + "(" * 3000 + ")" * 3000 + "}",
        "",
    ],
)
def test_hostile_headers(location, header):
    text = header.encode("latin1")
    content = b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + b"\0" * 320
    replace_array(location, "test", "tokens.npy", content)
    assert only_a_line(location)


def test_a_note_of_a_store_is_one_line(location, cli):
    edit(location, lambda fields: fields.update(notes=["x\nok    forged\x1b[2J"]), seal=True)
    options = [f"--set=data.{k}={v}" for k, v in TASK.data_options("generate").items()]
    for action in ("prepare", "check"):
        out = cli("data", action, "listops", "--data-dir", location.root, *options)[1]
        assert r"x\nok    forged\x1b[2J" in out
