"""Attention mechanisms, one per file.

Each is a function or an `nnx.Module`, called as `(q, k, v, mask) -> out` with

    q, k, v, out: Float[Array, "b l h d"]
    mask: Bool[Array, "b l"], True where the token is real

Keys and values at padding are never read. The output at padded queries is unspecified.
Projections, residuals and dropout belong to the model, so only the mechanism differs between
runs. Sampled state (random features, hash rotations) is an `nnx.Variable`, but not an
`nnx.Param`; a module with sampled state redraws it in `resample(key)`, which only the training
loop calls. Modules whose names begin with an underscore hold code that several mechanisms share.
"""
