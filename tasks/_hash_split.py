"""Split data by the hash of their contents, so that equal examples are in one split."""

# Of 20 parts of all examples, validation and test have one each.
_PARTS = 20


def part_of(digest: bytes) -> int:
    """Return the number of the twentieth, from 0 to 19, in which the contents with a hash are."""
    return int.from_bytes(digest, "little") % _PARTS


def split_of(digest: bytes) -> str:
    """Return the split in which the contents with a hash are."""
    return {0: "test", 1: "validation"}.get(part_of(digest), "train")
