"""Read and write JSON files, with a checksum if wanted.

The checksum is of the canonical JSON of the other values, so indenting a file or sorting its keys
does not invalidate it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lra_bench.files.atomic import write_atomically
from lra_bench.files.regular import MOST_BYTES, read_text

# Objects and arrays in each other; no file of ours has ten, and readers recurse into them.
_DEEPEST = 64
# The key of the checksum of a file.
CHECKSUM = "checksum"


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file atomically.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON lacks.
    """
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """Return the value that a JSON file holds; see `read_bytes`.

    Raises:
        OSError: the file cannot be read, is not a regular file, or holds more bytes.
        ValueError: it is not JSON.
    """
    return parse_json(read_text(path, most))


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, is nested too deeply, has an object with one key twice, of which
            readers may take either, or holds half of a surrogate pair, which is no character and
            which no file can hold.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object)
        _check_depth(value)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object has one key twice")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON file, and the SHA-256 of their canonical JSON."""
    return {**values, CHECKSUM: _sha256(values)}


def without_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON file without their checksum; an old file has none.

    Raises:
        ValueError: the values do not match the checksum.
    """
    return checked(values, CHECKSUM, _sha256)


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(values)).hexdigest()


def checked(
    values: Mapping[str, Any], key: str, digest: Callable[[Mapping[str, Any]], str]
) -> dict[str, Any]:
    """Return the values without their checksum; raise ValueError if they do not match it."""
    rest = {name: value for name, value in values.items() if name != key}
    if key in values and values[key] != digest(rest):
        raise ValueError("does not match its checksum: changed after it was written")
    return rest


def canonical(values: Mapping[str, Any]) -> bytes:
    """Return the JSON of which a checksum is made."""
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
