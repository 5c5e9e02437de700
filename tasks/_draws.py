"""Random numbers as hashes: the same on any machine, and a function of what they are drawn for.

A key stands for an example and a purpose; its draws do not depend on other examples.
"""

import numpy as np

# Of the Feistel network.
_ROUNDS = 4


def stream(seed: int, purpose: int, numbers: np.ndarray) -> np.ndarray:
    """Return a key, uint64 (n,), for each example's number (n,)."""
    root = child(np.array([seed % (1 << 64)], np.uint64), 1)
    return child(child(root, purpose + 1), numbers + 1)


def uniform(keys: np.ndarray, draw: int) -> np.ndarray:
    """Return doubles in [0, 1) by key and draw, of 52 bits, so that u x < x after rounding."""
    return (child(keys, draw + 1) >> np.uint64(12)) * 2.0**-52


def integers(keys: np.ndarray, draw: int, below: np.ndarray | int) -> np.ndarray:
    """Return integers from 0 to below - 1, int64, by key and draw."""
    return (uniform(keys, draw) * below).astype(np.int64)


def child(keys: np.ndarray, number: np.ndarray | int) -> np.ndarray:
    """Return the `number`-th output of splitmix64 from the states `keys`, uint64."""
    mixed = keys + np.asarray(number).astype(np.uint64) * np.array(0x9E3779B97F4A7C15, np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def shuffled(draws: np.ndarray) -> np.ndarray:
    """Return a random order of the columns, int64 (n, c), from random numbers (n, c)."""
    return np.argsort(draws, axis=1, kind="stable")


def permuted(
    numbers: np.ndarray, size: int, seed: int, purpose: int, which: np.ndarray | None = None
) -> np.ndarray:
    """Return where a random permutation of 0 to size - 1 takes the numbers, int64 (n,).

    It is a Feistel network on the smallest even number of bits that holds `size`, repeated while
    the result is too large.

    Args:
        numbers: to permute, (n,).
        size: of the permutation.
        seed, purpose: of the permutation.
        which: for each number, which of many permutations takes it, (n,); by default one takes all.
    """
    half = np.uint64(((size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    keys = stream(seed, purpose, np.arange(_ROUNDS))[:, None]
    keys = np.broadcast_to(
        keys if which is None else child(keys, which + 1), (_ROUNDS, len(numbers))
    )
    result, outside = numbers.astype(np.uint64), np.ones(len(numbers), bool)
    while outside.any():
        left, right = result[outside] >> half, result[outside] & mask
        for key in keys[:, outside]:
            left, right = right, left ^ (child(key, right) & mask)
        result[outside] = left << half | right
        outside &= result >= np.uint64(size)
    return result.astype(np.int64)
