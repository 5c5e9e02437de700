"""Attention mechanisms, one a file.

Each is a function or an `nnx.Module` called as `(q, k, v, mask) -> out` with

    q, k, v, out: Float[Array, "b l h d"]
    mask: Bool[Array, "b l"], True where the token is real

Keys and values at padding are never read. What the output holds at padded queries is left open.
Projections, residuals and dropout belong to the model, so that only the mechanism differs
between runs. Sampled state (random features, hash rotations) is an `nnx.Variable` that is no
`nnx.Param`; a module that has some redraws it in `resample(key)`, which only the train loop
calls. Modules whose name begins with an underscore hold what several mechanisms share.
"""
