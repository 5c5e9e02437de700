"""The task Image-LM: predict the values of the pixels of photographs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lra_bench.contracts import Block, Range, Reading, Source
from lra_bench.registry import register_task
from lra_bench.tasks import _archive, _imagenet, _images, image
from lra_bench.tasks._given import Given
from lra_bench.tasks._hash_split import part_of

VALUES, START, MASK = 256, 256, 257
_SIDES = {"cifar-10": 32, "imagenet64": 64}
_BLOCK = 512
_IMAGENET = Source(
    "imagenet64",
    "test: the published validation set; validation: a twentieth of the training images, by the "
    "hash of their pixels",
    "train_data_batch_{1,...,10}.npz and val_data.npz in a folder",
    "https://image-net.org/download-images.php",
    examples=(1_217_109, 64_058, 50_000),
)
_OFFICIAL_TRAIN, _OFFICIAL_TEST = 1_281_167, 50_000


@register_task("image-lm")
@dataclass(frozen=True)
class ImageLM(Given):
    """Predict the values of the pixels of photographs, each from those before it.

    A photograph is read row by row. With `colour` "rgb", the red, green and blue value of a pixel
    follow each other, as in PixelCNN; "grey" has one value a pixel. `shrink` averages blocks of
    `shrink` x `shrink` pixels. A value is one of 256 tokens. With the objective "next", a start
    token stands before the first value, so that all are predicted: "bits a token" of a result are
    bits per dimension.

    The photographs are those of CIFAR-10, 32 x 32 pixels, or with `dataset` "imagenet64" those of
    ImageNet, 64 x 64, in the files that image-net.org publishes (Chrabaszcz et al. 2017,
    arXiv:1707.08819). Language models of images, the Reformer's and probably the Performer's among
    them, were measured on another down-sampling (van den Oord et al. 2016, arXiv:1601.06759), so
    bits per dimension do not compare with theirs.

    Attributes:
        objective: "next" predicts each value from those before it, "masked" values that are hidden.
        dataset: "cifar-10", or "imagenet64" for ImageNet of 64 x 64 pixels.
        colour: "rgb" has three values a pixel, "grey" one.
        shrink: side of the blocks of pixels that are averaged.

    References:
        Choromanski et al. 2021, arXiv:2009.14794, Section 4.5 and Fig. 7; Krizhevsky 2009,
        "Learning Multiple Layers of Features from Tiny Images"; van den Oord et al. 2016,
        arXiv:1601.06759 (PixelCNN); Chrabaszcz et al. 2017, arXiv:1707.08819 (ImageNet64).
    """

    objective: Literal["next", "masked"] = "next"
    dataset: Literal["cifar-10", "imagenet64"] = "cifar-10"
    colour: Literal["grey", "rgb"] = "rgb"
    shrink: Annotated[int, Range(1, 64)] = 1

    name: ClassVar[str] = "image-lm"
    bits_per: ClassVar[str] = "dim"
    num_classes: ClassVar[int] = 1
    class_names: ClassVar[tuple[str, ...]] = ("image",)
    vocab_size: ClassVar[int] = MASK + 1
    pad_id: ClassVar[int | None] = None
    start_id: ClassVar[int] = START
    mask_id: ClassVar[int] = MASK
    ordinary: ClassVar[tuple[int, int]] = (0, VALUES - 1)
    paired: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _images.check_shrink(self.shrink, _SIDES[self.dataset])

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return the source of the dataset."""
        return image.Image.sources if self.dataset == "cifar-10" else (_IMAGENET,)

    @property
    def side(self) -> int:
        """Return the pixels on a side."""
        return _SIDES[self.dataset] // self.shrink

    @property
    def _channels(self) -> int:
        return 3 if self.colour == "rgb" else 1

    @property
    def max_len(self) -> int:
        """Return the number of values."""
        return self.side**2 * self._channels

    def scored(self, tokens: Any) -> Any:
        """Return True for each token: all are values of pixels."""
        return tokens >= 0

    def data_options(self, source: str) -> dict[str, Any]:
        """Return all options but `objective`, which reads the same tokens in another way."""
        return {k: v for k, v in super().data_options(source).items() if k != "objective"}

    def inputs(self, source: str, path: Path | None) -> dict[str, Path]:
        """Return the archive or the ten batches and the validation set, by their published names.

        Raises:
            RunError: a file is missing.
        """
        if source == "imagenet64":
            return _imagenet.find(self.name, path)
        (facts,) = self.sources
        return {facts.files: _archive.find(self.name, path, facts)}

    def official(self, source: str, checksums: dict[str, str], sizes: dict[str, int]) -> bool:
        """Return whether the archive has the published checksum, or the batches all images."""
        if source == "imagenet64":
            trained = sizes["train"] + sizes["validation"]
            return (trained, sizes["test"]) == (_OFFICIAL_TRAIN, _OFFICIAL_TEST)
        (facts,) = self.sources
        return checksums.get(facts.files) == facts.sha256

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """Return no features."""
        return np.zeros((len(tokens), 0), np.float32)

    def to_text(self, tokens: np.ndarray) -> str:
        """Draw the image in characters."""
        values = tokens.reshape(self.side**2, self._channels)
        return _images.to_text(values.mean(axis=1).astype(np.uint8), self.side)

    def read(self, reading: Reading) -> Iterator[Block]:
        """Yield blocks of (split, tokens uint8 (n, max_len), zeros int64 (n,)).

        Raises:
            RunError: files are missing or broken, or have unexpected contents.
        """
        make = self._imagenet if reading.source == "imagenet64" else self._cifar
        for split, pixels in make(reading):
            yield split, self._tokens(pixels), np.zeros(len(pixels), np.int64)

    def _tokens(self, pixels: np.ndarray) -> np.ndarray:
        """Return the values of images uint8 (n, y, x, 3), uint8 (n, max_len)."""
        values = pixels if self.colour == "rgb" else _images.luma(pixels)[..., None]
        planes = [_images.shrink(plane, self.shrink) for plane in np.moveaxis(values, -1, 0)]
        return np.stack(planes, axis=-1).reshape(len(pixels), self.max_len)

    def _cifar(self, reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
        """Yield split and pixels: the same examples in the same order as the task Image."""
        (archive,) = self.inputs(reading.source, reading.path).values()
        photographs = image.photographs_of(archive, reading)
        train, test = photographs["train"], photographs["test"]
        ids, test_ids = _ids(train), _ids(test)
        kept, chosen = _archive.held_out(ids)
        for split, source, names, rows, size in (
            ("train", train, ids, kept, self.train_size),
            ("validation", train, ids, chosen, self.validation_size),
            ("test", test, test_ids, _archive.by_id(test_ids), self.test_size),
        ):
            rows = _archive.first(names, rows, size)
            for start in range(0, len(rows), _BLOCK):
                examples = source.__getitems__(rows[start : start + _BLOCK])
                yield split, np.stack([each["image"] for each in examples])

    def _imagenet(self, reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
        """Yield split and pixels, in the order of the files."""
        files = self.inputs(reading.source, reading.path)
        limits = self.limits()
        taken: Counter[str] = Counter()
        for number, (name, file) in enumerate(files.items()):
            reading.report("files", number, len(files))
            for pixels in _imagenet.images(file, _SIDES["imagenet64"]):
                for split, part in _divided(pixels, is_test=name == _imagenet.TEST):
                    limit = limits[split]
                    part = part[: None if limit is None else limit - taken[split]]
                    taken[split] += len(part)
                    if len(part):
                        yield split, part


def _ids(photographs: Any) -> list[str]:
    """Return the ids of photographs."""
    blocks = (
        range(i, min(i + _BLOCK, len(photographs))) for i in range(0, len(photographs), _BLOCK)
    )
    return [each["id"].decode() for rows in blocks for each in photographs.__getitems__(rows)]


def _divided(pixels: np.ndarray, *, is_test: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the splits of images (n, y, x, 3) and their parts."""
    if is_test:
        yield "test", pixels
        return
    digests = (blake2b(each.tobytes(), digest_size=8).digest() for each in pixels)
    chosen = np.array([part_of(digest) == 0 for digest in digests])
    yield "train", pixels[~chosen]
    yield "validation", pixels[chosen]
