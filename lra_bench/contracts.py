"""The sizes that an attention mechanism is built for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dims:
    """Sizes fixed when a mechanism is built.

    Attributes:
        num_heads: heads, `h` in shapes.
        head_dim: features a head, `d` in shapes.
        max_len: the longest sequence that will be seen, in tokens; calls may be shorter.
    """

    num_heads: int
    head_dim: int
    max_len: int
