"""Image-LM: the values of pixels in their order, from CIFAR-10 and from ImageNet64's batches."""

import contextlib
import io
import tracemalloc
import zipfile
from collections import defaultdict

import layouts
import numpy as np
import pytest
from common import refused

from lra_bench.config import make_settings
from lra_bench.contracts import SPLITS, Reading, Started
from lra_bench.data.chance import chance_of
from lra_bench.data.location import locate
from lra_bench.data.store import open_store
from lra_bench.errors import RunError
from lra_bench.tasks import _imagenet
from lra_bench.tasks.image import Image
from lra_bench.tasks.image_lm import MASK, START, ImageLM

FEW = {"train_size": 6, "validation_size": 3, "test_size": 4}


def collect(task, source, path, scratch=None):
    """The tokens of each split."""
    parts = defaultdict(list)
    for split, tokens, labels in task.read(Reading(source, path, scratch or path)):
        assert tokens.dtype == np.uint8
        assert tokens.shape == (len(labels), task.max_len)
        assert not labels.any()
        parts[split].append(tokens)
    return {split: np.concatenate(blocks) for split, blocks in parts.items()}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    layouts.cifar(folder / "cifar-10-binary.tar.gz", 20, 30)
    return folder


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """The eleven files of ImageNet64, with few images, half of them compressed."""
    folder = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for number, name in enumerate((*_imagenet.BATCHES, _imagenet.TEST)):
        save = np.savez_compressed if number % 2 else np.savez
        save(folder / name, **batch(rng.integers(0, 256, (12, 3 * 64 * 64))))
    return folder


def batch(data):
    """The arrays of an official file."""
    labels = np.ones(len(data), np.int64)
    return {"data": data.astype(np.uint8), "labels": labels, "mean": data.mean(axis=0)}


def test_grey_is_what_the_task_image_reads(cifar, tmp_path):
    """The same examples in the same order; the splits are those of its rule."""
    for shrink in (1, 4):
        found = collect(ImageLM(colour="grey", shrink=shrink), "archive", cifar, tmp_path)
        for split, tokens, _ in Image(shrink=shrink).read(Reading("archive", cifar, tmp_path)):
            np.testing.assert_array_equal(found[split], tokens)


def test_rgb_is_row_by_row_and_pixel_by_pixel(cifar, tmp_path):
    """Three values a pixel, as in PixelCNN; the archive has three planes an image."""
    found = collect(ImageLM(), "archive", cifar, tmp_path)
    assert [len(found[split]) for split in SPLITS] == [90, 10, 30]
    planes = layouts.cifar_records(30)[:, 1:].reshape(-1, 3, 32, 32)
    wanted = [[image[c, y, x] for y in range(32) for x in range(32) for c in range(3)]
              for image in planes]  # fmt: skip
    np.testing.assert_array_equal(found["test"], wanted)


def test_shrinking_averages_each_colour(cifar, tmp_path):
    whole, small = (collect(ImageLM(shrink=s), "archive", cifar, tmp_path)["test"] for s in (1, 8))
    assert small.shape == (30, 48)
    blocks = whole.reshape(30, 4, 8, 4, 8, 3).mean(axis=(2, 4), dtype=np.float32)
    np.testing.assert_array_equal(small, np.rint(blocks).reshape(30, 48))


def test_imagenet64_as_published(imagenet):
    """Planes become pixels; the test set is the published validation set."""
    found = collect(ImageLM(dataset="imagenet64"), "imagenet64", imagenet)
    held = [np.load(imagenet / name)["data"] for name in (*_imagenet.BATCHES, _imagenet.TEST)]
    pixels = [each.reshape(-1, 3, 4096).transpose(0, 2, 1).reshape(-1, 12_288) for each in held]
    np.testing.assert_array_equal(found["test"], pixels[-1])
    train = np.concatenate(pixels[:-1])
    known = [{row.tobytes() for row in found[split]} for split in ("train", "validation")]
    assert {row.tobytes() for row in train} == known[0] | known[1]
    assert not known[0] & known[1]
    assert 1 <= len(known[1]) <= 20
    assert [row.tobytes() in known[0] for row in train].count(True) == len(found["train"])


def test_equal_images_are_in_one_split(imagenet, tmp_path):
    for name in (*_imagenet.BATCHES, _imagenet.TEST):
        (tmp_path / name).symlink_to(imagenet / _imagenet.BATCHES[0])
    found = collect(ImageLM(dataset="imagenet64"), "imagenet64", tmp_path)
    known = {split: {row.tobytes() for row in rows} for split, rows in found.items()}
    assert not known["train"] & known.get("validation", set())


def test_sizes_are_upper_limits(cifar, imagenet, tmp_path):
    places = (("cifar-10", "archive", cifar), ("imagenet64", "imagenet64", imagenet))
    for dataset, source, path in places:
        usual = {"dataset": dataset, "colour": "grey", "shrink": 8}
        few, every = (collect(ImageLM(**usual, **size), source, path, tmp_path)
                      for size in (FEW, {}))  # fmt: skip
        for split, size in zip(SPLITS, FEW.values(), strict=True):
            assert len(few[split]) == size
            kept = {row.tobytes() for row in every[split]}
            assert all(row.tobytes() in kept for row in few[split])


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


GOOD = npz(data=np.zeros((2, 12_288), np.uint8))
PICKLED = npz(data=np.array([{"a": 1}], object))
FORTRAN = npz(data=np.zeros((4, 12_288), np.uint8, order="F"))
BROKEN = {
    "empty": (b"", "is cut off or damaged: BadZipFile: File is not a zip file"),
    "cut off": (GOOD[:-100], "is cut off or damaged"),
    "text": (b"data\n", "is cut off or damaged"),
    "no data": (npz(labels=np.ones(2)), r"holds labels.npy but no array 'data'"),
    "ImageNet32": (npz(data=np.zeros((2, 3_072), np.uint8)), r"'data' is uint8 \(2, 3072\), must"),
    "floats": (npz(data=np.zeros((2, 12_288))), r"'data' is float64 \(2, 12288\), must be uint8"),
    "one image": (npz(data=np.zeros(12_288, np.uint8)), r"'data' is uint8 \(12288,\), must be"),
    "a number": (npz(data=np.uint8(3)), r"'data' is uint8 \(\), must be"),
    "Fortran": (FORTRAN, "in the order of Fortran"),
    "objects": (PICKLED, r"'data' is object \(1,\), must be uint8"),
}


def with_member(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.npy", content)
    return file.getvalue()


def _member(rows):
    file = io.BytesIO()
    np.save(file, np.zeros((rows, 12_288), np.uint8))
    return file.getvalue()


BROKEN["no array"] = (with_member(b"nothing"), "'data' is no array")
BROKEN["short"] = (with_member(_member(3)[:-9]), "'data' is not as long as its header says")
BROKEN["long"] = (with_member(_member(3) + b"x"), "'data' is not as long as its header says")


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_batches_are_said_in_a_line(tmp_path, kind):
    content, message = BROKEN[kind]
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(RunError, match=message) as error:
        list(_imagenet.images(tmp_path / "x.npz", 64))
    assert str(error.value).isprintable()


def test_a_damaged_byte_is_no_traceback(tmp_path):
    rng = np.random.default_rng(0)
    file, packed = tmp_path / "x.npz", io.BytesIO()
    np.savez_compressed(packed, data=rng.integers(0, 9, (1, 12_288)).astype(np.uint8))
    whole, found = packed.getvalue(), 0
    places = [*range(80), *range(80, len(whole) - 120, 97), *range(len(whole) - 120, len(whole))]
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(RunError):
            list(_imagenet.images(file, 64))
            continue
        found += 1
    assert found > len(places) / 2


def test_missing_batches_are_named(imagenet, tmp_path):
    with pytest.raises(RunError, match=r"no train_data_batch_1.npz and 10 more of its files in"):
        ImageLM(dataset="imagenet64").inputs("imagenet64", tmp_path)
    for name in (*_imagenet.BATCHES[:6], *_imagenet.BATCHES[7:], _imagenet.TEST):
        (tmp_path / name).symlink_to(imagenet / name)
    with pytest.raises(RunError, match=r"image-lm: no train_data_batch_7.npz in the folder"):
        ImageLM(dataset="imagenet64").inputs("imagenet64", tmp_path)


def test_memory_does_not_grow_with_the_batches(tmp_path):
    """25 MB in a file."""
    np.savez(tmp_path / "x.npz", data=np.zeros((2_048, 12_288), np.uint8))
    tracemalloc.start()
    try:
        assert sum(map(len, _imagenet.images(tmp_path / "x.npz", 64))) == 2_048
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


def test_presets_have_the_papers_lengths():
    """Choromanski et al. 2021, Fig. 7: 12,288 values, (8, 2048, 512), 6 layers."""
    lengths = {}
    for preset in ("mini", "regular", "imagenet64"):
        settings = make_settings("image-lm", "performer-relu", preset, 0)
        lengths[preset] = ImageLM(**settings.data).max_len
        assert settings.attention_options["causal"]
    assert lengths == {"mini": 256, "regular": 3_072, "imagenet64": 12_288}
    model = settings.model
    sizes = (model.num_heads, model.num_layers, model.ffn_dim, model.emb_dim)
    assert sizes == (8, 6, 2_048, 512)
    assert settings.data_source == "imagenet64"


def test_ids_are_frozen():
    """They are part of each checkpoint: change them only together with the task's version."""
    task = ImageLM(colour="grey", shrink=8)
    assert (START, MASK, task.vocab_size, task.ordinary, task.pad_id) == (
        256, 257, 258, (0, 255), None
    )  # fmt: skip
    assert isinstance(task, Started)
    assert task.scored(np.array([[0, 255]], np.uint8)).all()
    assert task.to_text(np.full(16, 255, np.uint8)).strip() == "\n".join(["@" * 8] * 4)


def test_official_are_all_images():
    task, sizes = ImageLM(dataset="imagenet64"), {"train": 1_217_000, "validation": 64_167}
    assert task.official("imagenet64", {}, {**sizes, "test": 50_000})
    assert not task.official("imagenet64", {}, {**sizes, "test": 100})
    assert not ImageLM().official("archive", {"cifar-10-binary.tar.gz": "0" * 64}, {})


def test_the_archive_is_prepared_checked_and_shown(cifar, cli, tmp_path):
    """In colour; all values are counted for the empirical baseline."""
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data", "--set=data.colour=rgb",
               "--set=data.shrink=8")  # fmt: skip
    status, out, err = cli("data", "prepare", "image-lm", "--source", cifar, *options)
    assert (status, err) == (0, "")
    status, out, _ = cli("data", "check", "image-lm", *options)
    assert status == 0, out
    shown = tmp_path / "shown.png"
    assert cli("data", "show", "image-lm", "--out", shown, *options)[0] == 0
    assert shown.exists()
    task = ImageLM(colour="rgb", shrink=8, train_size=256, validation_size=64, test_size=64)
    store = open_store(locate(tmp_path / "data", task, "archive"))
    counts = np.bincount(store.splits["test"].tokens.ravel(), minlength=task.vocab_size)
    assert store.manifest.splits["test"].token_histogram == counts.tolist()
    assert chance_of(task, store).uniform == pytest.approx(np.log(256))


def test_the_dataset_decides_on_the_source(imagenet, cli, tmp_path):
    prepare = ("data", "prepare", "image-lm", "--preset", "imagenet64", "--data-dir", tmp_path)
    small = ("--set=data.shrink=16",)
    status, out, err = cli(*prepare, *small, "--source", imagenet)
    assert (status, err) == (0, "")
    assert "prepared image-lm (imagenet64)" in out
    refused(cli(*prepare, "--source", tmp_path), 1, "no train_data_batch_1.npz and 10 more")
    wrong = ("data", "prepare", "image-lm", "--set=data.dataset=imagenet64")
    refused(cli(*wrong), 2, "unknown data source of image-lm", "imagenet64")
    refused(cli("data", "show", "image-lm", "--set=data.shrink=5"), 2, "shrink=5: must divide")
