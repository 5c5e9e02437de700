"""One mechanism of each kind: of q, k and v, with queries as keys, of features, and a mixer.

For tests of code that treats all mechanisms of a kind alike, and of what else is tested of each
mechanism in another way. The other mechanisms are slow tests.
"""

import pytest

KINDS = ("softmax", "reformer", "performer-softmax", "fnet")


def mostly_kinds(names):
    """The names as parameters of a test, of which all but those of `KINDS` are slow."""
    return [pytest.param(x, marks=() if x in KINDS else pytest.mark.slow) for x in names]
