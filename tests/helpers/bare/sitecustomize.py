"""Makes Python processes see a machine that lacks packages, lra-bench itself among them.

With this folder on PYTHONPATH, the modules in BLOCKED, names separated by commas, do not exist.
"""

import importlib.machinery
import importlib.metadata
import os

BLOCKED = set(os.environ.get("BLOCKED", "").split(","))
_find_spec = importlib.machinery.PathFinder.find_spec
_find_distributions = importlib.metadata.MetadataPathFinder.find_distributions


def _others(fullname, path=None, target=None):
    return None if fullname in BLOCKED else _find_spec(fullname, path, target)


def _other_distributions(*args, **kwargs):
    found = _find_distributions(*args, **kwargs)
    return (each for each in found if each.metadata["Name"] != "lra-bench")


importlib.machinery.PathFinder.find_spec = _others
importlib.metadata.MetadataPathFinder.find_distributions = _other_distributions
