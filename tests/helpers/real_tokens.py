"""Does a mixer agree with a reference that gets the real tokens of one example, and no others?"""

import numpy as np
from agreement import learned
from flax import nnx
from mixers import LENGTH, check_learned

from lra_bench.contracts import Dims
from lra_bench.model.mechanism import build_attention

DIMS = Dims(num_heads=3, head_dim=4, max_len=40)
SUFFIX = np.arange(LENGTH) < np.array([[LENGTH], [25]])
# Padding at the start, in between and at the end.
SCATTERED = np.stack([np.ones(LENGTH, bool), np.arange(LENGTH) % 4 != 0])
SCATTERED[1, 30:] = False


def check_on_real_tokens(name, reference, mask, *, moved=0.3, dims=DIMS, **options):
    """Compare a mixer, and its gradients by its input and by all that it learns.

    Args:
        name: of the mixer.
        reference: of real tokens (n, e) and a dictionary of parameters.
        mask: of the tokens of two examples.
        moved: what the parameters are moved by, in standard deviations of a normal distribution,
            so that none of them is zero or without effect.
        dims: sizes of the model.
        options: of the mixer.
    """
    parameters, with_arrays = learned(build_attention(name, dims, options, nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    learnt = {key: x + moved * rng.standard_normal(x.shape) for key, x in parameters.items()}
    x = rng.standard_normal((*mask.shape, dims.emb_dim))
    check_learned(with_arrays, reference, x, learnt, mask)


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
