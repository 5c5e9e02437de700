"""Records with junk in one place."""

import copy

JUNK = [None, 0, -1, 3.5, True, "", "words", [], {}, [[1]], {"a": None}, 1e400, 10**30]


def with_junk(values, half):
    """Yield copies of a record's JSON values, each with junk in the place of one value.

    Each place gets every second kind of junk; `half` is 0 or 1 and says which.
    """
    for number, path in enumerate(key_paths(values)):
        for junk in JUNK[(number + half) % 2 :: 2]:
            changed = copy.deepcopy(values)
            group = changed
            for key in path[:-1]:
                group = group[key]
            group[path[-1]] = junk
            yield changed


def key_paths(values, path=()):
    """Yield the keys that lead to each value."""
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from key_paths(value, (*path, key))
