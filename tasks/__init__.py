"""Tasks, one file each: a file registers a class whose instances are a `lra_bench.contracts.Task`.

The harness writes the blocks that `read` yields to a token store. Example `index` of a split is
the same on any machine. Modules whose names begin with an underscore hold helpers.
"""
