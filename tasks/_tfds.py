"""Build TensorFlow Datasets from archives, without TensorFlow.

The stock builders of these sets need TensorFlow to prepare. Records are array_record files.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

Example = dict[str, Any]
Examples = Callable[[], Iterator[tuple[str, Example]]]


class LraBench(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Write the examples that are passed to the constructor."""

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded here, and reading a checksum file would need another package.
    url_infos: ClassVar[Any] = {}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self, features: Mapping[str, Any], splits: Mapping[str, Examples], folder: Path
    ) -> None:
        self._features, self._splits = features, splits
        super().__init__(data_dir=folder, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(self._features)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        del dl_manager
        return {name: self._generate_examples(make) for name, make in self._splits.items()}

    def _generate_examples(self, make: Examples) -> Any:
        yield from enumerate(dict(example, id=key) for key, example in make())


def text() -> Any:
    """Return a feature of bytes in any encoding."""
    return tfds.features.Text()


def image(height: int, width: int, channels: int) -> Any:
    """Return a feature of pixels, uint8 (height, width, channels), stored uncompressed."""
    encoding = tfds.features.Encoding.BYTES
    return tfds.features.Tensor(shape=(height, width, channels), dtype=np.uint8, encoding=encoding)


def label(names: Sequence[str]) -> Any:
    """Return a feature of class numbers."""
    return tfds.features.ClassLabel(names=list(names))


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Create temporary files in `folder`, because TensorFlow Datasets leaves some behind."""
    before = tempfile.tempdir
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def prepare(
    features: Mapping[str, Any], splits: Mapping[str, Examples], folder: Path
) -> dict[str, Any]:
    """Write the examples of each split to `folder` unless they exist; return a data source each.

    Each example has an "id" besides its features.
    """
    builder: Any = LraBench({**features, "id": text()}, splits, folder)
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()), _temporary_files_in(folder):
        builder.download_and_prepare()
    return {split: builder.as_data_source(split) for split in splits}
