"""Keep the share of tables with a wrong sign below a level, however many signs a table may have.

Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
6, 1979; chains: Bretz, Maurer, Brannath and Posch, "A graphical approach to sequentially rejective
multiple test procedures", Statistics in Medicine 28, 2009.
"""

from collections.abc import Sequence


def adjusted(values: Sequence[float]) -> list[float]:
    """Return p-values by Holm's method: below a level, they are so for the family as a whole.

    The smallest of n is multiplied by n, the next by n - 1, and so on; none is less than one before
    it, or greater than 1.
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    result = [1.0] * len(values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, (len(values) - place) * values[index])
        result[index] = min(largest, 1.0)
    return result


def rejected(chains: Sequence[Sequence[float]], level: float) -> list[int]:
    """Return how many hypotheses at the start of each chain are rejected.

    A hypothesis of a chain is tested only if all before it are rejected. With n chains that have
    any left, each is tested at `level` / n. With one hypothesis a chain this is Holm's method.

    Args:
        chains: p-values, in the order of the tests.
        level: of the whole family.
    """
    counts = [0] * len(chains)
    while True:
        left = [index for index, chain in enumerate(chains) if counts[index] < len(chain)]
        found = [i for i in left if chains[i][counts[i]] < level / len(left)]
        if not found:
            return counts
        counts[found[0]] += 1
