"""lra-bench data list and data remove."""

import json
import threading
import time

import pytest
from common import PATIENCE, refused

from lra_bench.files.locks import locked

SMOKE = ("listops", "--preset", "smoke")


@pytest.fixture
def root(cli, tmp_path):
    """A root of data with two stores of ListOps."""
    where = ("--data-dir", tmp_path)
    for seed in (0, 1):
        assert cli("data", "prepare", *SMOKE, *where, "--set", f"data.seed={seed}")[0] == 0
    return tmp_path


def stores(cli, root):
    status, out, _ = cli("data", "list", "--preset", "smoke", "--data-dir", root, "--json")
    assert status == 0
    return json.loads(out)


def test_stores_are_listed_with_what_is_missing(cli, root):
    found = stores(cli, root)
    assert {store["options"]["seed"] for store in found["stores"]} == {0, 1}
    store = found["stores"][0]
    assert store["sizes"] == {"train": 512, "validation": 64, "test": 64}
    assert store["bytes"] > 640 * 48
    states = found["smoke"]
    assert (states["listops"], states["text"]) == ("there", "download")
    assert (states["retrieval"], states["recall"]) == ("missing", "generated")
    status, out, _ = cli("data", "list", "--preset", "smoke", "--data-dir", root)
    assert status == 0
    assert out.count("listops (generate): 640 examples") == 2
    assert "lra-bench data prepare retrieval --source PATH --preset smoke" in out


def test_one_store_is_removed(cli, root):
    where = ("--data-dir", root)
    assert cli("data", "remove", *SMOKE, *where, "--dry-run")[0] == 0
    assert len(stores(cli, root)["stores"]) == 2
    status, out, _ = cli("data", "remove", *SMOKE, *where)
    assert status == 0
    assert out.startswith("removed listops (generate): 640 examples")
    (left,) = stores(cli, root)["stores"]
    assert left["options"]["seed"] == 1
    assert [path.name for path in root.glob("listops/generate-*")] == [left["path"].split("/")[-1]]
    refused(cli("data", "remove", *SMOKE, *where), 2, "no data at", "1 other", "--all")


def test_every_store_is_removed(cli, root):
    (root / "listops/notes.txt").write_text("mine")
    one = ("data", "remove", "listops", "--all", "--source", "generate", "--data-dir", root)
    refused(cli(*one), 2, "--all removes the data of every source")
    assert cli("data", "remove", "listops", "--all", "--data-dir", root)[0] == 0
    pathx = ("data", "remove", "pathx", "--all", "--dry-run", "--data-dir", root)
    refused(cli(*pathx), 2, "no data at")  # the task lacks the usual preset
    assert [path.name for path in (root / "listops").iterdir()] == ["notes.txt"]


def test_a_store_that_is_being_prepared_stays(cli, root):
    path = next(root.glob("listops/generate-*"))
    with locked(path.with_name(f".{path.name}.lock"), wait=False):
        result = cli("data", "remove", "listops", "--all", "--data-dir", root)
    refused((result[0], "", result[2]), 1, "is being prepared by another process")
    assert path.is_dir()


def test_a_damaged_store_is_named_and_removed(cli, root):
    path = next(root.glob("listops/generate-*"))
    (path / "manifest.json").write_text("{")
    assert "damaged" in cli("data", "list", "--data-dir", root)[1]
    assert cli("data", "remove", "listops", "--all", "--data-dir", root)[0] == 0
    assert not path.exists()


def test_a_preset_that_no_task_has(cli):
    refused(cli("data", "list", "--preset", "smal"), 2, "did you mean 'small'")


def test_whoever_waits_for_a_lock_that_is_removed_takes_a_new_one(tmp_path):
    """Else a third process holds another file of that name, and both think they are alone."""
    path, entered, over = tmp_path / ".lock", threading.Event(), threading.Event()

    def wait():
        with locked(path, wait=True):
            entered.set()
            over.wait(PATIENCE)

    waits = threading.Thread(target=wait, daemon=True)
    with locked(path, wait=False):
        waits.start()
        time.sleep(0.2)  # it waits by now, unless the machine is busy: then less is tested
        path.unlink()
    assert entered.wait(PATIENCE)
    with locked(path, wait=False) as ours:
        assert not ours
    over.set()
    waits.join()
