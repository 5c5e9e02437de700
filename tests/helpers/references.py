"""What is shared by tests against dense references: the mask, float64, how closely they agree."""

import numpy as np
from contract import LENGTH, REAL, lengths_mask

MASK = lengths_mask(LENGTH, REAL)


def float64(*arrays):
    return [np.asarray(x, np.float64) for x in arrays]


def agree(found, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(found)[MASK], expected[MASK], rtol=tolerance, atol=tolerance
    )
