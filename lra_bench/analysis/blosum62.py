"""The substitution matrix BLOSUM62: how alike amino acids are, by what evolution has exchanged."""

from importlib.resources import files

import numpy as np
import pandas as pd
from jaxtyping import Float

# The order of Fig. 2 of Henikoff and Henikoff 1992, in which amino acids of a kind are neighbours.
AMINO_ACIDS = "CSTPAGNDEQHRKMILVFYW"


def scores() -> pd.DataFrame:
    """Return the scores in half-bits, 20 x 20: Henikoff and Henikoff 1992.

    Score i, j is 2 log2(q_ij / (p_i p_j)), rounded: q_ij is the share of the pairs of aligned
    residues that are i and j, and p_i that of the residues that are i.
    doi:10.1073/pnas.89.22.10915.
    """
    with (files("lra_bench") / "analysis" / "blosum62.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, comment="#", index_col=0)
    return table.loc[list(AMINO_ACIDS), list(AMINO_ACIDS)]


def normalised() -> Float[np.ndarray, "20 20"]:
    """Return b_ij / sqrt(b_ii b_jj): at most 1, which it is on the diagonal."""
    b = scores().to_numpy(float)
    own = np.sqrt(np.diag(b))
    return b / np.outer(own, own)
