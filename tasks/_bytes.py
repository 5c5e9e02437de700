"""Encode documents as bytes: token = byte + 1; 0 is padding."""

import zlib
from collections.abc import Sequence

import numpy as np

VOCAB_SIZE = 257
_BUCKETS = 4096


def encode(documents: Sequence[bytes], max_len: int) -> np.ndarray:
    """Return the first `max_len` bytes of each document as tokens, uint16 (n, max_len)."""
    tokens = np.zeros((len(documents), max_len), np.uint16)
    for row, document in enumerate(documents):
        values = np.frombuffer(document, np.uint8, min(len(document), max_len))
        tokens[row, : len(values)] = values
        tokens[row, : len(values)] += 1
    return tokens


def decode(tokens: np.ndarray) -> bytes:
    """Return the bytes of one document from its tokens (l,)."""
    return (tokens[tokens > 0] - 1).astype(np.uint8).tobytes()


def to_text(tokens: np.ndarray) -> str:
    """Return one document as text; bytes that are not UTF-8 appear as escapes."""
    return decode(tokens).decode("utf-8", errors="backslashreplace")


def word_counts(tokens: np.ndarray) -> np.ndarray:
    """Count each document's words in 4,096 buckets by hash; float32 (n, 4096)."""
    counts = np.zeros((len(tokens), _BUCKETS), np.float32)
    for row, document in enumerate(tokens):
        words = [zlib.crc32(word) % _BUCKETS for word in decode(document).lower().split()]
        np.add.at(counts[row], words, 1)
    return counts
