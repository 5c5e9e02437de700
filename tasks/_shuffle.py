"""Number examples in a random order, without storing the order and without a repetition."""

from hashlib import blake2b

_ROUNDS = 4


def shuffled(index: int, count: int, seed: int) -> int:
    """Return the place of `index` in a permutation of the numbers from 0 to `count` - 1.

    The permutation is a Feistel network of four rounds over as many bits as `count` needs. It is
    applied again while its result is too large (cycle walking), so different indices have different
    places.

    Args:
        index: from 0 to `count` - 1.
        count: at least 1, and as large as you like.
        seed: at least 0; each gives another permutation.

    References:
        Black and Rogaway 2002, doi:10.1007/3-540-45760-7_9.
    """
    half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
    place = index
    while True:
        place = _network(place, half, seed)
        if place < count:
            return place


def _network(place: int, half: int, seed: int) -> int:
    """Return a permutation of the numbers of 2 `half` bits."""
    left, right = place >> half, place & ((1 << half) - 1)
    for number in range(_ROUNDS):
        left, right = right, left ^ _hash((seed, number, half, right), half)
    return left << half | right


def _hash(values: tuple[int, ...], bits: int) -> int:
    """Return a number of at most `bits` bits."""
    size = -(-bits // 8)
    text = ",".join(map(str, values)).encode()
    digest = b"".join(
        blake2b(text, digest_size=64, salt=part.to_bytes(8, "little")).digest()
        for part in range(-(-size // 64))
    )
    return int.from_bytes(digest[:size], "little") & ((1 << bits) - 1)
