"""Configs that were damaged or written by somebody else: JSON texts, from a seeded generator."""

import copy
import json
import random

from junk import key_paths

VALUES = [
    None, True, False, 0, 1, -1, 2, 24.0, 0.5, -0.0, 10**18, 10**30, 10**400, -(10**400), 1e308,
    5e-324, float("nan"), float("inf"), float("-inf"), "", "words", "24", "true", "\x1b[31m",
    "a\nb", "a|b", "\u202eabc", "\x00", "x" * 10_000, "../../etc", [], [[]], [1, 2], ["a"], {},
    {"a": None}, {"": {}}, [{"task": 1}], {"task": "listops"}, "float16", "softmax-", "none",
]  # fmt: skip
# Texts that are no JSON object, or none that a file can hold.
TEXTS = [
    "", " ", "null", "[]", "3", '"words"', "{", "{}", "{]", '{"task": }', "[" * 100_000, "\0",
    '{"a":' * 5_000, '{"task": "\\ud800"}', '{"\\ud800": 1}', "{" + '"a": 1,' * 10, "nan",
    '{"seed": ' + "9" * 5_000 + "}", "\ufeff{}",
]  # fmt: skip


def hostile(config, tries, seed=0):
    """Yield that many texts: some of `TEXTS`, else the config with one to three changes."""
    rng = random.Random(seed)
    paths = list(key_paths(config))
    for number in range(tries):
        if number < len(TEXTS):
            yield TEXTS[number]
            continue
        changed = copy.deepcopy(config)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            change(rng, changed, rng.choice(paths))
        yield json.dumps(changed, ensure_ascii=rng.random() < 0.5)


def change(rng, config, path):
    """Replace, remove, rename or wrap the value at a path, or add a key beside it."""
    group = config
    for key in path[:-1]:
        group = group.get(key) if isinstance(group, dict) else None
    if not isinstance(group, dict) or path[-1] not in group:  # an earlier change has removed it
        return
    kind = rng.randrange(8)
    if kind == 0:
        del group[path[-1]]
    elif kind == 1:
        group[str(rng.choice(VALUES))[:50]] = rng.choice(VALUES)
    elif kind == 2:
        group[path[-1]] = [group[path[-1]]]
    else:
        group[path[-1]] = rng.choice(VALUES)
