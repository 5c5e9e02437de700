"""Tasks, one a file: each registers a class whose instances are a `lra_bench.contracts.Task`.

The harness writes what `read` yields to a token store, from which example `index` of a split is
the same on any machine. Modules whose name begins with an underscore hold helpers.
"""
