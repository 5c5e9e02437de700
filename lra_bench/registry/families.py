"""Families of mechanisms, and the two that all others are compared with."""

from lra_bench.registry.registry import ATTENTIONS

# The exact attention that every other mechanism is compared with.
REFERENCE = "softmax"
# The attention that returns the values unmixed: "X (OPT)" in the Performer paper, the cheapest.
IDENTITY = "identity"


def is_exact(attention: str) -> bool:
    """Return whether a mechanism equals softmax attention; false if it is not registered here."""
    return family_of(attention) == "exact"


def family_of(attention: str) -> str:
    """Return "exact", "bound" for identity, or the family that a mechanism registers."""
    if attention == IDENTITY:
        return "bound"
    entry = ATTENTIONS.find(attention)
    if entry is None:
        return "other"
    return "exact" if entry.traits.exact else entry.traits.family
