"""Compare attention between amino acids with BLOSUM62: Fig. 13 of the Performer paper."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Array, Float, Int

from lra_bench.analysis import blosum62, heat_maps, residue_attention
from lra_bench.analysis.blosum62 import AMINO_ACIDS
from lra_bench.analysis.mantel import mantel
from lra_bench.analysis.matrix import Call, attention_to, recorded_calls
from lra_bench.analysis.residue_attention import Tally
from lra_bench.contracts import Task, TokenTask
from lra_bench.data.location import locate
from lra_bench.data.obtain import load_data
from lra_bench.data.store import Split
from lra_bench.display.progress import Advance, Display
from lra_bench.errors import UsageError, unknown
from lra_bench.files.json_files import write_json
from lra_bench.model.encoder import Encoder
from lra_bench.registry import ATTENTIONS
from lra_bench.settings import RunSettings
from lra_bench.training.restore import load_model

# The pairs that the Performer paper names as recognised: two acids, and two with an aromatic ring.
NAMED = ("DE", "FY")
PERMUTATIONS = 10_000
# What UniProt writes beside the 20 amino acids: B, X, Z are uncertain, O and U are rare.
_OTHERS = "BOUXZ"
_TOKENS_AT_ONCE = 4_096
# What the panels of the figure and their values are.
_NORMALISED = "score over the root of both scores on the diagonal"
_WORDS = {
    "attention": ("attention to each other", "attention over what is expected"),
    "heads": ("attention by the same heads", "correlation over heads"),
}
_PAIRS = np.triu_indices(len(AMINO_ACIDS), 1)


@dataclass(frozen=True)
class Setup:
    """The parameters of the study.

    Attributes:
        run_dir: the folder of a run.
        data_root: the root of all data.
        split, examples: the split, and how many of its sequences are read, evenly spread.
        length: the largest number of tokens of a sequence that the model reads.
        seed: of the permutations.
    """

    run_dir: Path
    data_root: Path
    split: str = "test"
    examples: int = 800
    length: int = 256
    seed: int = 0


class _Batch(NamedTuple):
    """Sequences of one length.

    Attributes:
        tokens: as the model reads them, (b, l).
        groups: which amino acid each token is, 0 or 1, (b, l, g).
        done: how many sequences have been read with this batch.
    """

    tokens: Int[np.ndarray, "b l"]
    groups: Float[np.ndarray, "b l g"]
    done: int


def run(setup: Setup, out: Path, display: Display) -> bool:
    """Write the similarities, their correlations with BLOSUM62 and the figure; show tables."""
    settings, task, model = load_model(setup.run_dir)
    ids = _amino_acids(task, settings)
    store = load_data(task, locate(setup.data_root, task, settings.data_source), display)
    if setup.split not in store.splits:
        raise unknown("split", setup.split, list(store.splits))
    split = store.splits[setup.split]
    examples = min(setup.examples, len(split))
    causal = bool(settings.attention_options.get("causal"))
    with display.bar("similarity", examples) as bar:
        sums = tallied(model.encoder, _batches(split, ids, setup), bar, is_causal=causal)
    found = estimates(sums)
    title = f"{settings.attention}, {task.name}, {examples:,} sequences of {setup.split}"
    _write(found, setup, examples, title, out)
    _show(found, title, setup.seed, display)
    return True


def _amino_acids(task: Task, settings: RunSettings) -> Int[np.ndarray, " g"]:
    """Return the token ids of `AMINO_ACIDS`.

    Raises:
        UsageError: the tokens are not amino acids, or the model has no attention.
    """
    letters = {}
    if isinstance(task, TokenTask):
        first, last = task.ordinary
        letters = {task.to_text(np.array([x])): x for x in range(first, last + 1)}
    if not set(AMINO_ACIDS) <= letters.keys() <= set(AMINO_ACIDS + _OTHERS):
        raise UsageError(f"{task.name}: its tokens are not amino acids; those of protein are")
    if ATTENTIONS.get(settings.attention).traits.mixer:
        raise UsageError(
            f"{settings.attention} is a mixer, without attention between tokens; "
            "analyze matrix shows its influences"
        )
    return np.array([letters[x] for x in AMINO_ACIDS])


def _batches(split: Split, ids: Int[np.ndarray, " g"], setup: Setup) -> Iterator[_Batch]:
    """Yield batches of one shape; the last one repeats a sequence, whose residues don't count."""
    chosen = split.spread(setup.examples)
    length = min(setup.length, split.tokens.shape[-1])
    size = min(max(1, _TOKENS_AT_ONCE // length), len(chosen))
    for start in range(0, len(chosen), size):
        part = chosen[start : start + size]
        filled = part + part[:1] * (size - len(part))
        tokens = np.asarray(split.tokens[np.array(filled)])[:, :length]
        groups = (tokens[..., None] == ids).astype(np.float32)
        groups[len(part) :] = 0
        yield _Batch(tokens, groups, start + len(part))


def tallied(encoder: Encoder, batches: Iterator[_Batch], bar: Advance, *, is_causal: bool) -> Tally:
    """Return the attention between amino acids in each layer and head, summed over batches."""
    graph, state = nnx.split(encoder)

    @jax.jit
    def sums(state: nnx.State, tokens: Array, groups: Array) -> list[tuple[Array, Array]]:
        copy = nnx.merge(graph, state)
        mechanisms = [block.attention.attend for block in copy.blocks]
        found = []
        for attend, call in zip(mechanisms, recorded_calls(copy, tokens), strict=True):
            assert isinstance(call, Call)  # a mixer was refused
            # The model may have padded the sequences further.
            more = call.v.shape[1] - groups.shape[1]
            groups = jnp.pad(groups, ((0, 0), (0, more), (0, 0)))
            attention = attention_to(attend, call, groups)
            found.append(residue_attention.tally(groups, attention, is_causal=is_causal))
        return found

    total = None
    for batch in batches:
        found = np.asarray(sums(state, batch.tokens, batch.groups), np.float64)
        total = found if total is None else total + found
        bar(batch.done, "sequences")
    assert total is not None
    return Tally(total[:, 0], total[:, 1])


def estimates(sums: Tally) -> dict[str, Float[np.ndarray, "g g"]]:
    """Return each estimate of how alike amino acids are; see `by_pairs` and `by_heads`."""
    found = {"attention": residue_attention.by_pairs(sums)}
    heads = residue_attention.by_heads(sums)
    return found if heads is None else {**found, "heads": heads}


def pairs(found: dict[str, Float[np.ndarray, "g g"]]) -> pd.DataFrame:
    """Return a row for each of the 190 pairs: BLOSUM62, the estimates, and their ranks from 1."""
    i, j = _PAIRS
    letters = np.array(list(AMINO_ACIDS))
    table = pd.DataFrame({"first": letters[i], "second": letters[j]})
    table["blosum62"] = blosum62.scores().to_numpy()[i, j]
    for name, matrix in {"blosum62_normalised": blosum62.normalised(), **found}.items():
        table[name] = matrix[i, j]
        table[f"{name}_rank"] = table[name].rank(ascending=False, method="min").astype(int)
    return table


def correlations(found: dict[str, Float[np.ndarray, "g g"]], seed: int) -> pd.DataFrame:
    """Return Pearson's and Spearman's correlation with normalised BLOSUM62, with Mantel's test."""
    reference, rows = blosum62.normalised(), []
    for name, matrix in found.items():
        for statistic in ("pearson", "spearman"):
            ranks = statistic == "spearman"
            result = mantel(matrix, reference, PERMUTATIONS, seed, ranks=ranks)
            rows.append((name, statistic, result.value, result.p))
    return pd.DataFrame(rows, columns=["estimate", "statistic", "correlation", "p_value"])


def _write(
    found: dict[str, Float[np.ndarray, "g g"]], setup: Setup, examples: int, title: str, out: Path
) -> None:
    """Write the CSV files, the parameters and the figure."""
    out.mkdir(parents=True, exist_ok=True)
    names = list(AMINO_ACIDS)
    square = pd.DataFrame(found["attention"], index=names, columns=names)
    square.to_csv(out / "similarity.csv", index_label="amino_acid")
    pairs(found).to_csv(out / "pairs.csv", index=False)
    agreement = correlations(found, setup.seed)
    agreement.to_csv(out / "correlations.csv", index=False)
    facts = {"split": setup.split, "examples": examples, "length": setup.length}
    facts |= {"run_dir": str(setup.run_dir), "seed": setup.seed, "permutations": PERMUTATIONS}
    write_json(out / "similarity.json", facts)
    _draw(found, agreement, title, out / "similarity.png")


def _draw(
    found: dict[str, Float[np.ndarray, "g g"]], agreement: pd.DataFrame, title: str, path: Path
) -> None:
    """Draw normalised BLOSUM62 and each estimate, with its correlation above it."""
    shown = [heat_maps.Similarity("normalised BLOSUM62", _NORMALISED, blosum62.normalised())]
    pearson = agreement.query("statistic == 'pearson'").set_index("estimate")
    for name, matrix in found.items():
        what, value = _WORDS[name]
        r, p = pearson.loc[name, ["correlation", "p_value"]]
        heading = f"{what}\nPearson's r with BLOSUM62: {r:.2f}, p = {p:.2g}"
        shown.append(heat_maps.Similarity(heading, value, matrix))
    title = f"Similarity of amino acids by the attention of {title}; framed: {', '.join(NAMED)}"
    heat_maps.similarities(shown, AMINO_ACIDS, NAMED, title, path)


def _show(
    found: dict[str, Float[np.ndarray, "g g"]], title: str, seed: int, display: Display
) -> None:
    """Show the correlations, and where the named pairs rank."""
    display.line(f"Similarity of amino acids by the attention of {title}")
    display.line("\nCorrelation with normalised BLOSUM62 over the 190 pairs, Mantel's test:")
    display.markdown(
        correlations(found, seed).to_markdown(index=False, floatfmt=(None, None, ".3f", ".4f"))
    )
    if "heads" not in found:
        display.line(f"no similarity by heads: that needs {residue_attention.FEWEST_HEADS} of them")
    display.line("\nRanks among the 190 pairs, 1 is most alike:")
    display.markdown(ranks(found).to_markdown(index=False))


def ranks(found: dict[str, Float[np.ndarray, "g g"]]) -> pd.DataFrame:
    """Return the ranks of the pairs that the paper names."""
    table = pairs(found)
    table.insert(0, "pair", table.pop("first") + table.pop("second"))
    wanted = [pair in NAMED or pair[::-1] in NAMED for pair in table["pair"]]
    columns = {"blosum62_normalised_rank": "blosum62 normalised"}
    columns |= {f"{name}_rank": name for name in found}
    return table.loc[wanted, ["pair", *columns]].rename(columns=columns)
