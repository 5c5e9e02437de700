"""Documents as bytes: token = byte + 1, 0 is padding."""

import zlib
from collections.abc import Sequence

import numpy as np

VOCAB_SIZE = 257
_BUCKETS = 4096


def encode(documents: Sequence[bytes], max_len: int) -> np.ndarray:
    """The first `max_len` bytes of each, uint16 (n, max_len)."""
    tokens = np.zeros((len(documents), max_len), np.uint16)
    for row, document in enumerate(documents):
        found = np.frombuffer(document, np.uint8, min(len(document), max_len))
        tokens[row, : len(found)] = found
        tokens[row, : len(found)] += 1
    return tokens


def decode(tokens: np.ndarray) -> bytes:
    """The bytes of one document."""
    return (tokens[tokens > 0] - 1).astype(np.uint8).tobytes()


def to_text(tokens: np.ndarray) -> str:
    """One document as a person reads it; what isn't UTF-8 is shown as such."""
    return decode(tokens).decode("utf-8", errors="backslashreplace")


def word_counts(tokens: np.ndarray) -> np.ndarray:
    """Of each document, how often the words of each of 4,096 hash buckets occur, float32."""
    counts = np.zeros((len(tokens), _BUCKETS), np.float32)
    for row, document in enumerate(tokens):
        words = [zlib.crc32(word) % _BUCKETS for word in decode(document).lower().split()]
        np.add.at(counts[row], words, 1)
    return counts
