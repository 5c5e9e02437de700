"""Batches and the token store."""

import json
import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paired_task import Paired
from stores import prepared

from lra_bench.contracts import SPLITS, Reading
from lra_bench.data import store
from lra_bench.data.batches import Batches, Prefetch, padded_batches
from lra_bench.data.location import Location, data_root, locate
from lra_bench.data.manifest import read_manifest, write_manifest
from lra_bench.data.prepare import prepare
from lra_bench.errors import RunError, UsageError
from lra_bench.tasks.image import Image
from lra_bench.tasks.listops import ListOps
from lra_bench.tasks.pathfinder import Pathfinder
from lra_bench.tasks.pathx import PathX

sizes = st.integers(1, 50)


@given(sizes, sizes, st.integers(0, 2**31), st.integers(0, 4))
def test_every_epoch_holds_every_example_once(examples, size, seed, epoch):
    batches = Batches(examples, size, seed)
    first, last = epoch * examples, (epoch + 1) * examples
    order = np.concatenate([batches.indices(s) for s in range(first // size, -(-last // size))])
    start = first - first // size * size
    assert sorted(order[start : start + examples]) == list(range(examples))


@given(sizes, sizes, st.integers(0, 2**31), st.integers(0, 100))
def test_a_batch_depends_on_seed_and_step_alone(examples, size, seed, step):
    batches = Batches(examples, size, seed)
    for earlier in range(3):
        batches.indices(earlier)
    np.testing.assert_array_equal(
        batches.indices(step), Batches(examples, size, seed).indices(step)
    )


def test_examples_are_shuffled_not_batches():
    one, two = (Batches(1000, 100, 0).indices(step) for step in (0, 10))
    assert len(set(one) & set(two)) < 50
    assert not np.array_equal(one, np.sort(one))
    assert not np.array_equal(one, Batches(1000, 100, 1).indices(0))


def test_the_frozen_order():
    """Change this only on purpose: it changes every run's metrics."""
    assert Batches(10, 4, 0).indices(2).tolist() == GOLDEN


GOLDEN = [8, 1, 9, 1]


@given(sizes, sizes)
def test_padded_batches_weigh_every_example_once(examples, size):
    weight = np.zeros(examples)
    for indices, weights in padded_batches(examples, size):
        assert len(indices) == len(weights) == size
        np.add.at(weight, indices, weights)
    assert (weight == 1).all()


class TestPrefetch:
    def test_gives_the_steps_in_order(self):
        ahead = Prefetch(lambda step: step * step, 3)
        assert [ahead.get() for _ in range(5)] == [9, 16, 25, 36, 49]
        ahead.close()

    def test_raises_what_making_raised(self):
        def make(step):
            raise OSError("disk gone")

        ahead = Prefetch(make, 0)
        with pytest.raises(OSError, match="disk gone"):
            ahead.get()
        ahead.close()


KEYS = [
    "schema", "task", "source", "path", "inputs", "options", "version", "split_rule", "splits",
    "notes", "official", "checksum",
]  # fmt: skip
SPLIT_KEYS = ["examples", "label_histogram", "files"]


def make(root, task=None):
    return prepared(root, task or ListOps(40, 8, 8, 3, 40), "generate")


class TestLocation:
    """Where each file of a store lies, so that existing stores and memories are found."""

    def test_the_frozen_paths(self):
        """Change the fingerprint only on purpose: it orphans every prepared store."""
        location = locate(Path("/data"), ListOps(40, 8, 8, 3, 40), "generate")
        assert location.path == Path("/data/listops/generate-cc9b37056d0c")
        assert location.manifest == location.path / "manifest.json"
        assert location.lock == Path("/data/listops/.generate-cc9b37056d0c.lock")
        assert location.scratch == Path("/data/listops/.generate-cc9b37056d0c.scratch")
        assert location.temporary == Path(f"/data/listops/.generate-cc9b37056d0c.{os.getpid()}.tmp")
        assert location.remembered == Path("/data/listops/.generate.json")
        assert location.downloads == Path("/data/downloads")
        # As they were before these tasks had options for how others read the data.
        for task, source, name in (
            (Image(), "archive", "archive-027b68816388"),
            (Pathfinder(), "generate", "generate-0566e550629f"),
            (PathX(), "release", "release-50425a5f1198"),
            (ListOps(), "release", "release-446e68a20ee8"),
        ):
            assert locate(Path("/data"), task, source).path.name == name

    def test_the_root_is_the_argument_else_the_variable_else_the_cache(self, monkeypatch):
        monkeypatch.setenv("LRA_BENCH_DATA", "~/there")
        assert data_root(Path("~/here")) == Path.home() / "here"
        assert data_root(None) == Path.home() / "there"
        monkeypatch.setenv("LRA_BENCH_DATA", "")
        assert data_root(None) == Path.home() / ".cache" / "lra_bench"


class TestStore:
    def test_holds_what_the_task_reads(self, tmp_path):
        opened = store.open_store(make(tmp_path, Paired()))
        expected = [
            block
            for block in Paired().read(Reading("generate", None, tmp_path))
            if block[0] == "train"
        ]
        tokens = np.concatenate([block[1] for block in expected])
        labels = np.concatenate([block[2] for block in expected])
        assert opened.splits["train"].tokens.dtype == np.uint16
        np.testing.assert_array_equal(opened.splits["train"].tokens, tokens)
        assert opened.example("train", 7)[1] == labels[7]
        np.testing.assert_array_equal(opened.example("train", 7)[0], tokens[7])
        assert opened.provenance().sizes == {"train": 10, "validation": 10, "test": 10}
        assert opened.provenance().official is False

    def test_is_not_made_twice(self, tmp_path):
        manifest = make(tmp_path).manifest
        before = manifest.stat().st_mtime_ns
        make(tmp_path)
        assert manifest.stat().st_mtime_ns == before

    def test_other_options_are_another_store(self, tmp_path):
        assert make(tmp_path) != make(tmp_path, ListOps(40, 8, 8, 3, 40, seed=1))

    def test_chance_is_the_commonest_label(self):
        split = store.Split(np.zeros((5, 1)), np.array([2, 1, 2, 0, 2]))
        assert split.chance() == 0.6

    @pytest.mark.parametrize("name", ["train/tokens.npy", "test/labels.npy"])
    @pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
    def test_damage_is_noticed(self, tmp_path, name, damage):
        location = make(tmp_path)
        file = location.path / name
        content = bytearray(file.read_bytes())
        if damage == "flip":
            content[-3] ^= 1
        file.write_bytes(content[:-1] if damage == "truncate" else content)
        if damage == "remove":
            file.unlink()
        with pytest.raises(RunError, match=r"doesn't match its checksum.*remove the folder"):
            store.open_store(location)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"splits": 3}', "nonsense"])
    def test_a_damaged_manifest_is_said(self, tmp_path, text):
        location = make(tmp_path)
        location.manifest.write_text(text)
        with pytest.raises(RunError, match=r"is damaged \(.*; remove the folder"):
            store.open_store(location)

    @pytest.mark.parametrize("key", ["inputs", "notes", "splits", "official"])
    @pytest.mark.parametrize("value", [None, 3, {"train": 3}, [3], {"train": {"examples": "3"}}])
    def test_a_manifest_with_a_wrong_value_is_damaged(self, tmp_path, key, value):
        location = make(tmp_path)
        fields = json.loads(location.manifest.read_text())
        location.manifest.write_text(json.dumps({**fields, key: value}))
        with pytest.raises(RunError, match=r"is damaged \(.*; remove the folder"):
            store.open_store(location)

    def test_a_manifest_is_written_as_it_was_read(self, tmp_path):
        """Byte for byte, in the form of the stores that exist."""
        location = make(tmp_path)
        content = location.manifest.read_bytes()
        assert list(json.loads(content)) == KEYS
        assert list(json.loads(content)["splits"]["test"]) == SPLIT_KEYS
        write_manifest(tmp_path / "again.json", read_manifest(location))
        assert (tmp_path / "again.json").read_bytes() == content

    def test_a_missing_store_names_the_command(self, tmp_path):
        with pytest.raises(UsageError, match="lra-bench data prepare"):
            store.open_store(Location(tmp_path, "listops", "release", "0"))

    def test_a_failure_leaves_nothing_that_looks_whole(self, tmp_path):
        class Failing(Paired):
            def read(self, reading):
                yield from list(super().read(reading))[:3]
                raise RunError("the source broke")

        with pytest.raises(RunError, match="broke"):
            make(tmp_path, Failing())
        assert not [p for p in tmp_path.rglob("*") if p.is_dir() and p.parent.name == "paired"]

    def test_a_missing_split_is_told(self, tmp_path):
        class Half(Paired):
            def read(self, reading):
                yield "train", np.zeros((1, 2, 4), np.uint16), np.array([0])

        with pytest.raises(RunError, match="paired: no examples in validation, test"):
            make(tmp_path, Half())

    def test_other_files_are_not_taken_for_those_that_are_there(self, tmp_path):
        @dataclass(frozen=True)
        class Given(Paired):
            def inputs(self, source, path):
                return {"file": path} if path else {}

        make(tmp_path, Given())
        task, tmp_file = Given(), tmp_path / "file"
        tmp_file.write_text("x")
        with pytest.raises(RunError, match="holds other data, of None; remove the folder"):
            prepare(task, locate(tmp_path, task, "generate"), tmp_file)

    def test_labels_out_of_range_are_refused(self, tmp_path):
        class Wrong(Paired):
            def read(self, reading):
                yield "train", np.zeros((1, 2, 4), np.uint16), np.array([3])

        with pytest.raises(RunError, match=r"paired train: a label outside 0\.\.2"):
            make(tmp_path, Wrong())

    def test_tokens_out_of_range_are_refused(self, tmp_path):
        class Wrong(Paired):
            def read(self, reading):
                yield "train", np.full((1, 2, 4), 1000, np.uint16), np.array([0])

        with pytest.raises(RunError, match=r"paired train: a token outside 0\.\.999"):
            make(tmp_path, Wrong())

    def test_splits_of_different_dtypes_are_refused(self, tmp_path):
        """The program that evaluates is compiled for one of them."""

        class Mixed(Paired):
            def read(self, reading):
                for split, dtype in zip(SPLITS, ("uint8", "uint8", "uint16"), strict=True):
                    yield split, np.zeros((1, 2, 4), dtype), np.array([0])

        with pytest.raises(RunError, match="all uint8 or all uint16, in every split"):
            make(tmp_path, Mixed())

    def test_scratch_outlives_a_failure_but_not_success(self, tmp_path):
        class Interrupted(Paired):
            seen: ClassVar[list] = []

            def read(self, reading):
                self.seen.append(reading.scratch.exists())
                reading.scratch.mkdir(exist_ok=True)
                if len(self.seen) == 1:
                    raise RunError("the light went out")
                yield from super().read(reading)

        task = Interrupted()
        with pytest.raises(RunError, match="light"):
            make(tmp_path, task)
        make(tmp_path, task)
        assert task.seen == [False, True]
        assert not list(tmp_path.rglob("*.scratch"))

    def test_what_a_killed_process_left_is_cleared(self, tmp_path):
        location = make(tmp_path)
        leftover = location.path.with_name(f".{location.path.name}.12345.tmp")
        shutil.move(location.path, leftover)
        make(tmp_path)
        assert not leftover.exists()
        store.open_store(location)

    def test_several_processes_make_it_once(self, tmp_path):
        calls = [(tmp_path, ListOps(40, 8, 8, 3, 40), "generate")] * 4
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            locations = pool.starmap_async(prepared, calls).get(timeout=600)
        assert len(set(locations)) == 1
        assert store.open_store(locations[0]).manifest.official is False
