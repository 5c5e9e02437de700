"""The task Image: classify small photographs, read pixel by pixel in grey."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from lra_bench.contracts import Block, Range, Reading, Source
from lra_bench.errors import RunError
from lra_bench.registry import register_task
from lra_bench.tasks import _archive, _images
from lra_bench.tasks._given import FromArchive

_BLOCK = 5_000
_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE
_ARCHIVE = "cifar-10-binary.tar.gz"
# Size and checksum as TensorFlow Datasets publishes them (url_checksums/cifar10.txt).
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_SIZE = 170_052_171
# An official file has 10,000 images.
_MOST_BYTES = 64 * 2**20
_FILES = {
    "train": _archive.Expected(
        r"data_batch_[1-5]\.bin", "cifar-10-batches-bin/data_batch_{1,2,3,4,5}.bin", _MOST_BYTES
    ),
    "test": _archive.Expected(
        r"test_batch\.bin", "cifar-10-batches-bin/test_batch.bin", _MOST_BYTES
    ),
}
_OFFICIAL_PER_CLASS = {"train": 5_000, "test": 1_000}


@register_task("image")
@dataclass(frozen=True)
class Image(FromArchive):
    """Classify CIFAR-10 images from their grey values, one token per pixel.

    `shrink` averages blocks of `shrink` x `shrink` pixels. With `black` "padding", black pixels are
    padding, as in the code of the Long Range Arena: the model does not read them. Each size is the
    largest number of examples of its split; 0 takes all.

    Attributes:
        shrink: side of the blocks of pixels that are averaged.
        black: "padding" makes black pixels padding; "pixel" does not.

    References:
        Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"; Tay et al.
        2021, arXiv:2011.04006, Section 2.2.
    """

    shrink: Annotated[int, Range(1, _SIDE)] = 1
    black: _images.Black = "pixel"

    name: ClassVar[str] = "image"
    num_classes: ClassVar[int] = 10
    class_names: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    vocab_size: ClassVar[int] = _images.VOCAB_SIZE
    paired: ClassVar[bool] = False
    sources: ClassVar[tuple[Source, ...]] = (
        Source(
            "archive",
            _archive.RULE,
            _ARCHIVE,
            f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}",
            _SIZE,
            _SHA256,
            examples=(45_000, 5_000, 10_000),
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _images.check_shrink(self.shrink, _SIDE)

    @property
    def pad_id(self) -> int | None:
        """Return the token id of padding, which may be anywhere; None if no pixel is padding."""
        return _images.pad_id(self.black)

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options but `black`, which changes how a model reads the same tokens."""
        options = super().data_options(source)
        del options["black"]
        return options

    @property
    def side(self) -> int:
        """Return the pixels on a side."""
        return _SIDE // self.shrink

    @property
    def max_len(self) -> int:
        """Return the number of pixels."""
        return self.side**2

    def to_text(self, tokens: np.ndarray) -> str:
        """Draw the image in characters."""
        return _images.to_text(tokens, self.side)

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return the image at 8 x 8 pixels, its squares, and its edges; float32 (n, 256)."""
        return _images.coarse(tokens.reshape(-1, self.side, self.side))

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 (n, max_len), labels int64 (n,)).

        Raises:
            RunError: the archive is missing or broken, or has unexpected contents.
        """
        (archive,) = self.inputs(reading.source, reading.path).values()
        photographs = photographs_of(archive, reading)
        train_ids, tokens, labels = self._load(photographs["train"])
        kept, chosen = _archive.held_out(train_ids)
        for split, rows, size in (
            ("train", kept, self.train_size),
            ("validation", chosen, self.validation_size),
        ):
            rows = _archive.first(train_ids, rows, size)
            yield split, tokens[rows], labels[rows]
        test_ids, tokens, labels = self._load(photographs["test"])
        rows = _archive.first(test_ids, _archive.by_id(test_ids), self.test_size)
        yield "test", tokens[rows], labels[rows]

    def _load(self, photographs: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return ids, tokens uint8 (n, max_len) and labels int64 (n,) of a split."""
        ids, tokens, labels = [], [], []
        for start in range(0, len(photographs), _BLOCK):
            rows = range(start, min(start + _BLOCK, len(photographs)))
            examples = photographs.__getitems__(rows)
            grey = _images.luma(np.stack([x["image"] for x in examples]))
            tokens.append(_images.to_tokens(_images.shrink(grey, self.shrink)))
            ids += [x["id"].decode() for x in examples]
            labels += [x["label"] for x in examples]
        return ids, np.concatenate(tokens), np.array(labels, np.int64)


def photographs_of(archive: Path, reading: Reading) -> Any:
    """Return the images of train and of test: sequences of dictionaries with id, image and label.

    Raises:
        RunError: the archive is broken, or has unexpected contents.
    """
    from lra_bench.tasks import _tfds

    features = {"image": _tfds.image(_SIDE, _SIDE, 3), "label": _tfds.label(Image.class_names)}
    seen: dict[bytes, str] = {}
    splits = {split: _photographs(archive, split, reading, seen) for split in _FILES}
    folder = reading.scratch / _archive.state(archive)
    return _tfds.prepare(features, splits, folder)


def _photographs(
    archive: Path, split: str, reading: Reading, seen: dict[bytes, str]
) -> Callable[[], Iterator]:
    """Return a function that yields the archive's images of a split as (id, example).

    The names of the files that were read are kept in `seen`, by the SHA-256 of their contents.
    """

    def read() -> Iterator[tuple[str, dict[str, Any]]]:
        counts = np.zeros(Image.num_classes, np.int64)
        for name, content in _archive.members(archive, _FILES[split], Image.remedy()):
            _refuse_twice(archive, name, content, seen)
            pixels, labels = _decode(archive, name, content)
            counts += np.bincount(labels, minlength=Image.num_classes)
            reading.report(f"{split} images", int(counts.sum()), None)
            for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                yield f"{name}/{row:05d}", {"image": image, "label": int(label)}
        _check_counts(archive, split, counts)

    return read


def _refuse_twice(archive: Path, name: str, content: bytes, seen: dict[bytes, str]) -> None:
    """Raise RunError if another file of the archive has the same contents."""
    other = seen.setdefault(hashlib.sha256(content).digest(), name)
    if other != name:
        raise RunError(f"{archive}: {other} and {name} are the same images, which count once only")


def _decode(archive: Path, name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decode records of a label and three planes: pixels uint8 (n, y, x, 3), labels int64 (n,)."""
    if not content or len(content) % _RECORD:
        size = f"{len(content):,} bytes, not a multiple of {_RECORD:,}"
        raise RunError(f"{archive}: {name} has {size}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= Image.num_classes:
        row = int(np.argmax(labels))
        raise RunError(f"{archive}: {name}: record {row} has label {labels[row]}, must be 0 to 9")
    return records[:, 1:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1), labels


def _check_counts(archive: Path, split: str, counts: np.ndarray) -> None:
    if not counts.all():
        raise RunError(f"{archive}: some class has no {split} image: {counts.tolist()}")
    official = archive.stat().st_size == _SIZE
    if official and (counts != _OFFICIAL_PER_CLASS[split]).any():
        expected = _OFFICIAL_PER_CLASS[split]
        raise RunError(
            f"{archive}: {split} images of each class: {counts.tolist()}, must be {expected:,}"
        )
