"""Pathfinder and Path-X: the release's folders, their quirks, and what is wrong with others."""

import json
import shutil
import time
from pathlib import Path

import layouts
import numpy as np
import pytest
from common import PATIENCE
from PIL import Image
from started import children
from stores import prepared

from lra_bench.contracts import Reading
from lra_bench.errors import RunError
from lra_bench.tasks import _archive
from lra_bench.tasks._pathfinder import generator, probe, release
from lra_bench.tasks.pathfinder import Pathfinder
from lra_bench.tasks.pathx import PathX

pytestmark = pytest.mark.ci

SIZE = 60


@pytest.fixture(scope="module")
def many():
    """Enough images for the probe to tell labels from noise."""
    return generator.generate(generator.spec(32, 14), 0, 0, 500)


@pytest.fixture(scope="module")
def images(many):
    return [part[:SIZE] for part in many]


@pytest.fixture(scope="module")
def undamaged(images, tmp_path_factory):
    """A folder that tests only read, and what it holds."""
    root = tmp_path_factory.mktemp("undamaged")
    folder = layouts.pathfinder(root / "curv_contour_length_14", *images)
    return folder, read(folder, root)[0]


@pytest.fixture
def folder(images, tmp_path):
    name = tmp_path / "lra_release/lra_release/pathfinder32/curv_contour_length_14"
    return layouts.pathfinder(name, *images)


def read(path, tmp_path, task=None):
    notes, parts = [], {}
    reading = Reading("release", path, tmp_path / "scratch", note=notes.append)
    for split, tokens, labels in (task or Pathfinder()).read(reading):
        parts.setdefault(split, []).append((tokens, labels))
    joined = {k: [np.concatenate(x) for x in zip(*v, strict=True)] for k, v in parts.items()}
    return joined, notes


@pytest.mark.parametrize("text", [True, False])
def test_both_forms_of_metadata(images, tmp_path, text):
    """Plain text, as released, and true .npy, as the reference generator writes it."""
    folder = layouts.pathfinder(tmp_path / "curv_contour_length_14", *images, text=text)
    data, notes = read(folder, tmp_path)
    assert not notes
    assert [len(labels) for _, labels in data.values()] == [48, 6, 6]
    known = {image.tobytes(): label for image, label in zip(*images, strict=True)}
    for tokens, labels in data.values():
        assert [known[row.tobytes()] for row in tokens] == labels.tolist()


def test_found_from_any_root(folder, tmp_path):
    for path in (folder, *folder.parents[:3]):
        files = Pathfinder().inputs("release", path)
        assert {file.parent.parent for file in files.values()} == {folder}
    assert path == tmp_path / "lra_release"
    assert sum(len(labels) for _, labels in read(path, tmp_path)[0].values()) == SIZE


def test_easier_contours_lie_in_their_own_folder(images, tmp_path):
    layouts.pathfinder(tmp_path / "pathfinder32/curv_baseline", *images)
    assert read(tmp_path, tmp_path, Pathfinder(contour_length=6))[0]
    with pytest.raises(RunError, match="no pathfinder32/curv_contour_length_14 with folders imgs"):
        read(tmp_path, tmp_path)
    with pytest.raises(RunError, match="contours of 6, 9, 14 paddles, not 7"):
        read(tmp_path, tmp_path, Pathfinder(contour_length=7))


def test_the_split_is_a_rule_on_names_alone(undamaged):
    """Ranked by SHA-256 of the name: change this only with the task's `version`."""
    names = [f"imgs/{batch}/sample_{n}.png" for batch in range(2) for n in range(SIZE // 2)]
    ranked = sorted(names, key=_archive.digest)
    assert ranked[:3] == GOLDEN
    folder, data = undamaged
    with Image.open(folder / ranked[-1]) as last:
        np.testing.assert_array_equal(data["test"][0][-1], np.asarray(last).ravel())


GOLDEN = ["imgs/1/sample_25.png", "imgs/0/sample_29.png", "imgs/0/sample_9.png"]


def test_empty_images_are_skipped_and_listed(folder, tmp_path):
    """imgs/0/sample_172.png of the release's curv_baseline is one."""
    (folder / "imgs/0/sample_7.png").write_bytes(b"")
    data, notes = read(folder, tmp_path)
    assert sum(len(labels) for _, labels in data.values()) == SIZE - 1
    assert notes == [f"skipped: {folder}/imgs/0/sample_7.png is empty"]
    location = prepared(tmp_path / "data", Pathfinder(), "release", folder)
    assert json.loads(location.manifest.read_text())["notes"] == notes


def narrow(folder):
    Image.fromarray(np.zeros((32, 33), np.uint8)).save(folder / "imgs/1/sample_3.png")


def truncated(folder):
    file = folder / "imgs/1/sample_3.png"
    file.write_bytes(file.read_bytes()[:60])


def edit(change):
    def damage(folder):
        file = folder / "metadata/1.npy"
        file.write_text(change(file.read_text()))

    return damage


def pickled(folder):
    np.save(folder / "metadata/1.npy", np.array([["imgs/0", 1, 2, {}]], object))


def remove(folder):
    (folder / "imgs/1/sample_3.png").unlink()


BROKEN = {
    "33 x 32": (narrow, r"imgs/1/sample_3\.png has 33 x 32 pixels, must be 32 x 32"),
    "truncated": (truncated, r"imgs/1/sample_3\.png can't be read"),
    "no image": (remove, r"imgs/1/sample_3\.png is named in the metadata but is not there"),
    "label of 2": (
        edit(lambda t: "imgs/1 sample_0.png 0 2\n" + t),
        r"metadata/1\.npy:1: label '2', must be 0 or 1",
    ),
    "three columns": (edit(lambda t: "imgs/1 a 0\n"), r"1\.npy:1: 3 columns, must be at least 4"),
    "twice": (edit(lambda t: t + t), r"imgs/1/sample_0\.png is named a second time"),
    "leads out": (edit(lambda t: "../x y.png 0 1\n"), "leads out of the folder"),
    "pickled": (pickled, "allow_pickle=False"),
    "no metadata": (lambda f: [x.unlink() for x in (f / "metadata").iterdir()], "holds no .npy"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_folders_are_said(folder, tmp_path, kind):
    damage, message = BROKEN[kind]
    damage(folder)
    with pytest.raises(RunError, match=message):
        read(folder, tmp_path)


def test_images_are_shrunk_by_means(undamaged, tmp_path):
    folder, whole = undamaged
    halved, _ = read(folder, tmp_path, Pathfinder(shrink=2))
    blocks = whole["train"][0].astype(float).reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(halved["train"][0], np.rint(blocks).reshape(-1, 256))


def test_official_are_all_of_the_hardest():
    whole = {"train": 160_000, "validation": 20_000, "test": 20_000}
    assert Pathfinder().official("release", {}, whole)
    assert not Pathfinder().official("generate", {}, whole)
    assert not Pathfinder(contour_length=9).official("release", {}, whole)


def test_fewer_images_are_the_first_of_each_split(undamaged, tmp_path):
    """So that no image is test here and train there."""
    folder, whole = undamaged
    fewer, _ = read(folder, tmp_path, Pathfinder(size=20))
    for split, count in (("train", 16), ("validation", 2), ("test", 2)):
        np.testing.assert_array_equal(fewer[split][0], whole[split][0][:count])


@pytest.mark.parametrize("length", [6, 9])
def test_contours_of_another_length_are_not_taken_for_14(folder, tmp_path, length):
    other = folder.with_name(release.FOLDERS[length])
    folder.rename(other)
    with pytest.raises(RunError, match=rf"is for --set data\.contour_length={length}"):
        read(other, tmp_path)


def test_a_blank_line_in_the_metadata_is_harmless(folder, tmp_path):
    file = folder / "metadata/1.npy"
    file.write_text(file.read_text() + "\n")
    assert sum(len(labels) for _, labels in read(folder, tmp_path)[0].values()) == SIZE


class TestGenerated:
    def test_what_cannot_be_generated_is_said(self, tmp_path, monkeypatch):
        def fruitless(*args):
            raise ValueError("no two snakes")

        monkeypatch.setattr(generator, "generate", fruitless)
        with pytest.raises(RunError, match="pathfinder: no two snakes"):
            list(Pathfinder(size=10).read(Reading("generate", None, tmp_path)))

    def test_equal_however_many_processes_make_it(self, tmp_path, monkeypatch):
        monkeypatch.setattr("lra_bench.tasks._pathfinder.task._BLOCK_PIXELS", 20 * 32 * 32)
        task = Pathfinder(size=100, contour_length=6)
        reading = Reading("generate", None, tmp_path / "scratch")
        tokens = {}
        for split, block, _ in task.read(reading):
            tokens[split] = np.concatenate([tokens[split], block]) if split in tokens else block
        images, labels = generator.generate(generator.spec(32, 6), 0, 0, 100)
        numbers = np.arange(100)
        for split, kept in (("train", numbers % 10 < 8), ("validation", numbers % 10 == 8)):
            np.testing.assert_array_equal(tokens[split], images[kept].reshape(-1, 1024))
        assert labels.mean() == pytest.approx(0.5, abs=0.2)
        assert task.sizes("generate") == {"train": 80, "validation": 10, "test": 10}

    def test_only_what_is_missing_or_truncated_is_made_again(self, tmp_path, monkeypatch):
        monkeypatch.setattr("lra_bench.tasks._pathfinder.task._BLOCK_PIXELS", 20 * 32 * 32)
        task = Pathfinder(size=60, contour_length=6)
        reading = Reading("generate", None, tmp_path / "scratch")
        first = [block[1] for block in task.read(reading)]
        file = tmp_path / "scratch/block-20.npz"
        content = file.read_bytes()
        monkeypatch.setattr(generator, "generate", only_from_20(generator.generate))
        for damage in (lambda: file.unlink(), lambda: file.write_bytes(content[:5000])):
            damage()
            again = [block[1] for block in task.read(reading)]
            np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))


def test_a_killed_preparation_leaves_no_worker_and_goes_on(spawn, tmp_path):
    """kill -9 of the parent: its workers end by themselves, finished blocks are kept."""
    easy = ("--set=data.contour_length=6", "--set=data.distractors=false")
    options = ("--set=data.size=200000", *easy, "--data-dir", tmp_path)
    command = ("data", "prepare", "pathfinder", "--preset", "smoke", *options)
    process = spawn(*command)
    wait_for(lambda: len(list(tmp_path.rglob("block-*.npz"))) >= 2)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    assert workers
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("block-*.npz")}
    assert not list(tmp_path.rglob("manifest.json"))
    again = spawn(*command)
    wait_for(lambda: len(list(tmp_path.rglob("block-*.npz"))) > len(kept) + 1)
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
    again.kill()
    again.communicate()


def wait_for(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def only_from_20(generate):
    def checked(spec, seed, start, count):
        assert start == 20, "a block that was there"
        return generate(spec, seed, start, count)

    return checked


@pytest.fixture(scope="module")
def probed():
    """Enough images at 128 pixels for the probe to tell labels from noise."""
    return generator.generate(generator.spec(128, 14), 0, 0, 120)


class TestProbe:
    def test_it_sees_labels_at_32(self, many):
        images, labels = (part[:250] for part in many)
        found = Pathfinder().features(images.reshape(250, -1))
        noise = np.random.default_rng(0).permutation(labels)
        assert probe.fit(found, labels) > 5
        assert abs(probe.fit(found, noise)) < 3

    @pytest.mark.slow
    def test_of_two_folders_the_one_with_fitting_labels_is_taken(self, probed, tmp_path):
        """The release has a second pathfinder128 on which nothing learns more than chance."""
        images, labels = probed
        noise = np.random.default_rng(1).permutation(labels)
        name = "pathfinder128/curv_contour_length_14"
        bad = layouts.pathfinder(tmp_path / "lra_release" / name, images, noise)
        good = layouts.pathfinder(tmp_path / "lra_release/lra_release" / name, images, labels)
        task = PathX()
        assert task.inputs("release", tmp_path)["metadata/0.npy"].parent.parent == good
        data, (note,) = read(tmp_path, tmp_path, task)
        assert note.startswith(f"taken: {good}, whose labels fit its images by ")
        assert f"not {bad}" in note
        known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        tokens, found = data["train"]
        assert [known[row.tobytes()] for row in tokens] == found.tolist()

    def test_a_large_folder_of_noise_is_refused(self, many, tmp_path):
        images, labels = many
        noise = np.random.default_rng(1).permutation(labels)
        folder = layouts.pathfinder(tmp_path / "curv_contour_length_14", images, noise)
        with pytest.raises(RunError, match=r"don't fit its images .* the release's broken folder"):
            read(folder, tmp_path)

    def test_folders_that_cannot_be_told_apart_are_not_guessed(self, tmp_path):
        """At 256 pixels paddles follow each other too closely for the probe."""
        images = np.zeros((10, 256, 256), np.uint8)
        name = "pathfinder256/curv_contour_length_14"
        for root in ("lra_release", "lra_release/lra_release"):
            layouts.pathfinder(tmp_path / root / name, images, np.zeros(10))
        with pytest.raises(RunError, match="pathfinder: give one of /"):
            read(tmp_path, tmp_path, Pathfinder(resolution=256))

    def test_one_folder_reached_by_two_ways_is_one(self, probed, tmp_path):
        name = "pathfinder128/curv_contour_length_14"
        folder = layouts.pathfinder(tmp_path / "lra_release" / name, *(x[:10] for x in probed))
        (tmp_path / "pathfinder128").symlink_to(tmp_path / "lra_release/pathfinder128")
        assert len(release.candidates("pathx", tmp_path, 128, 14)) == 1
        shutil.rmtree(folder)
