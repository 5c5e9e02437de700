"""Attention between amino acids: the sums, the similarity, its test, and the command."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from common import SMOKE, refused
from scipy import stats
from token_task import Letters

from lra_bench.analysis import blosum62, residue_attention, similarity
from lra_bench.analysis.blosum62 import AMINO_ACIDS
from lra_bench.analysis.mantel import mantel
from lra_bench.analysis.residue_attention import Tally, by_heads, by_pairs
from lra_bench.errors import RunError, UsageError

pytestmark = pytest.mark.ci

G = len(AMINO_ACIDS)


def one_hot(kinds):
    """Which amino acid each token is, (1, l, g); a negative number is none."""
    return (np.asarray(kinds)[:, None] == np.arange(G)).astype(np.float32)[None]


def summed(kinds, matrices, *, is_causal=False):
    """The tally of one sequence with these attention matrices, (h, l, l)."""
    groups = one_hot(kinds)
    attention = np.asarray(matrices, np.float32)[None] @ groups[:, None]
    given, even = residue_attention.tally(groups, attention, is_causal=is_causal)
    return Tally(np.asarray(given, float)[None], np.asarray(even, float)[None])


def off_diagonal(matrix):
    return matrix[np.triu_indices(G, 1)]


class TestBlosum62:
    def test_figures(self):
        found = blosum62.scores()
        assert sorted(found.columns) == sorted("ACDEFGHIKLMNPQRSTVWY")
        assert (found.to_numpy() == found.to_numpy().T).all()
        known = {"DE": 2, "FY": 3, "IV": 3, "KR": 2, "AS": 1, "NS": 1, "QR": 1, "GI": -4, "WD": -4}
        assert {pair: found.loc[*pair] for pair in known} == known
        own = {x: found.loc[x, x] for x in "ACDEFGHIKLMNPQRSTVWY"}
        expected = [4, 9, 6, 5, 6, 6, 8, 4, 5, 4, 5, 6, 7, 5, 5, 4, 5, 4, 11, 7]
        assert list(own.values()) == expected

    def test_normalised(self):
        found = blosum62.normalised()
        assert np.diag(found) == pytest.approx(1)
        d, e = map(AMINO_ACIDS.index, "DE")
        assert found[d, e] == pytest.approx(2 / np.sqrt(6 * 5))


class TestTally:
    def test_sums_by_hand(self):
        """Tokens: a special one, then amino acids 0, 1, 1; each row gives 1 in all."""
        matrix = [[[1, 0, 0, 0], [0.5, 0.25, 0.25, 0], [0, 0.5, 0.5, 0], [0, 0.25, 0.5, 0.25]]]
        found = summed([-1, 0, 1, 1], matrix)
        given, even = found.given[0, 0, :2, :2], found.even[0, 0, :2, :2]
        np.testing.assert_allclose(given, [[0.25, 0.25], [0.75, 1.25]])
        np.testing.assert_allclose(even, [[0, 0.25], [0.75, 0]])

    def test_even_attention_sees_earlier_tokens_only_if_causal(self):
        """The last token, of 2, gives 0.9 to the two others; an unseen 1 gets nothing from 0."""
        matrix = [[[1, 0, 0], [0.4, 0.6, 0], [0.3, 0.6, 0.1]]]
        found = summed([0, 1, 2], matrix, is_causal=True).even[0, 0, :3, :3]
        np.testing.assert_allclose(found, [[0, 0, 0], [0.4, 0, 0], [0.45, 0.45, 0]], rtol=1e-6)
        spread = summed([0, 1, 2], matrix).even[0, 0, :3, :3]
        np.testing.assert_allclose(spread[1], [0.2, 0, 0.2], rtol=1e-6)


class TestByPairs:
    KINDS = np.repeat(np.arange(G), 3)
    # Each amino acid is likest to its neighbours in a circle, and all rows have the same sum.
    APART = np.abs(np.subtract.outer(np.arange(G), np.arange(G)))
    ALIKE = 1 + np.exp(-np.minimum(APART, G - APART).astype(float))

    def test_a_known_similarity(self):
        found = by_pairs(summed(self.KINDS, [self.ALIKE[np.ix_(self.KINDS, self.KINDS)]]))
        known = off_diagonal(self.ALIKE)
        np.testing.assert_allclose(off_diagonal(found), known / known.mean(), rtol=1e-5)
        np.testing.assert_array_equal(found, found.T)
        assert np.isnan(np.diag(found)).all()

    def test_frequencies_and_popularity_do_not_decide(self):
        """Of uneven numbers of residues, some of which give and get far more than others."""
        kinds = np.repeat(np.arange(G), np.arange(1, G + 1))
        gives, gets = np.linspace(1, 3, G), np.geomspace(0.2, 5, G)
        matrix = gives[kinds][:, None] * gets[kinds]
        np.testing.assert_allclose(off_diagonal(by_pairs(summed(kinds, [matrix]))), 1, rtol=1e-5)
        one, other = 4, 11
        matrix[np.ix_(kinds == one, kinds == other)] *= 3
        found = off_diagonal(by_pairs(summed(kinds, [matrix])))
        assert np.argmax(found) == list(zip(*np.triu_indices(G, 1), strict=True)).index(
            (one, other)
        )

    def test_residues_themselves_do_not_decide(self):
        matrix = self.ALIKE[np.ix_(self.KINDS, self.KINDS)]
        heavy = matrix + 50 * np.eye(len(matrix))
        one, other = (by_pairs(summed(self.KINDS, [x])) for x in (matrix, heavy))
        np.testing.assert_allclose(off_diagonal(one), off_diagonal(other), rtol=1e-4)

    def test_causal(self):
        """Attention that is even over what is seen has no similarity; half of it is never seen."""
        kinds = np.tile(np.arange(G), 4)
        matrix = np.tril(np.ones((len(kinds), len(kinds))))
        matrix /= matrix.sum(axis=1, keepdims=True)
        found = by_pairs(summed(kinds, [matrix], is_causal=True))
        np.testing.assert_allclose(off_diagonal(found), 1, rtol=1e-4)

    def test_what_cannot_be_told(self):
        ones = np.ones((1, G, G))
        with pytest.raises(RunError, match="no amino acid gives attention to another"):
            by_pairs(summed(np.arange(G), [np.eye(G)]))
        few = np.where(np.arange(G) == AMINO_ACIDS.index("W"), -1, np.arange(G))
        with pytest.raises(UsageError, match=r"no sequence holds both C and W .* --examples"):
            by_pairs(summed(few, ones))
        ones[:, :, 3] = 0
        with pytest.raises(RunError, match=f"{AMINO_ACIDS[3]} gives or gets no attention"):
            by_pairs(summed(np.arange(G), ones))


class TestByHeads:
    def test_amino_acids_of_the_same_heads(self):
        """0 and 1 are looked for by the first heads, 2 and 3 by the others."""
        gets = np.ones((4, 1, G, G))
        gets[:2, :, :, :2] = [[[[2, 4]]], [[[3, 6]]]]
        gets[2:, :, :, 2:4] = 5
        found = by_heads(Tally(gets, gets))
        assert found[0, 1] > 0.99
        assert found[2, 3] == pytest.approx(1)
        assert found[0, 2] < -0.8
        received = gets[:, 0, 0] / gets[:, 0, 0].sum(axis=1, keepdims=True)
        assert found[0, 5] == pytest.approx(stats.pearsonr(received[:, 0], received[:, 5])[0])

    def test_two_heads_tell_nothing(self):
        two = np.ones((1, 2, G, G))
        assert by_heads(Tally(two, two)) is None


class TestMantel:
    def planted(self, noise, seed=0):
        rng = np.random.default_rng(seed)
        one, other = rng.normal(size=(2, G, G))
        one = one + one.T
        return one, one + noise * (other + other.T)

    @pytest.mark.parametrize("ranks", [False, True])
    def test_a_planted_correlation(self, ranks):
        one, other = self.planted(1.0)
        found = mantel(one, other, 999, 0, ranks=ranks)
        by = stats.spearmanr if ranks else stats.pearsonr
        assert found.value == pytest.approx(by(off_diagonal(one), off_diagonal(other))[0])
        assert found.p == 1 / 1000
        assert mantel(one, -other, 999, 0, ranks=ranks).p == 1 / 1000

    def test_none(self):
        """Of unrelated matrices, also those whose rows differ much, one in ten has p < 0.1."""
        p = []
        for seed in range(100):
            rng = np.random.default_rng(seed)
            one, other = (np.add.outer(x, x) + 0.1 * y for x, y in zip(
                rng.normal(size=(2, G)), rng.normal(size=(2, G, G)), strict=True
            ))  # fmt: skip
            p.append(mantel(one + one.T, other + other.T, 199, seed).p)
        assert 2 <= np.sum(np.array(p) < 0.1) <= 20

    def test_equal_pairs_have_no_correlation(self):
        found = mantel(np.ones((G, G)), self.planted(1)[0], 9, 0)
        assert np.isnan(found.value)
        assert np.isnan(found.p)


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    """A folder of data, prepared from a made FASTA file, and a run of it."""
    from lra_bench.cli import main

    folder = tmp_path_factory.mktemp("proteins")
    rng = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    lines = [f">sp|P{n:05}|\n{''.join(rng.choice(letters, 60))}\n" for n in range(600)]
    (folder / "made.fasta").write_text("".join(lines))
    data = ("--preset", "smoke", "--data-dir", str(folder / "data"))
    source = ("--source", str(folder / "made.fasta"))
    assert main(["data", "prepare", "protein", *data, *source]) == 0
    small = {"train.num_steps": 2, "model.num_layers": 2, "model.remat": True}
    options = [f"--set={name}={value}" for name, value in small.items()]
    call = [*SMOKE, "--task", "protein", "--attention", "linear", *options]
    assert main([*call, "--data-dir", str(folder / "data"), "--out", str(folder / "run")]) == 0
    return folder


class TestCommand:
    def test_similarity(self, cli, proteins, tmp_path):
        call = ("analyze", "similarity", proteins / "run", "--data-dir", proteins / "data")
        call = (*call, "--split", "train", "--examples", 150)
        status, out, err = cli(*call, "--out", tmp_path / "a")
        assert (status, err) == (0, ""), out
        assert "attention of linear, protein, 150 sequences of train" in out
        table = pd.read_csv(tmp_path / "a/pairs.csv", keep_default_na=False)
        assert len(table) == 190
        # An untrained model of noise: even attention, no pair far from any other.
        assert table["attention"].between(0.9, 1.1).all()
        found = pd.read_csv(tmp_path / "a/correlations.csv")
        assert found["estimate"].tolist() == ["attention", "attention", "heads", "heads"]
        assert found["p_value"].between(1e-4, 1).all()
        square = pd.read_csv(tmp_path / "a/similarity.csv", index_col=0)
        assert square.loc["D", "E"] == square.loc["E", "D"]
        assert (tmp_path / "a/similarity.png").stat().st_size > 10_000
        assert cli(*call, "--out", tmp_path / "b")[0] == 0
        for file in (tmp_path / "a").iterdir():
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()

    def test_sums_are_those_of_the_matrices(self, proteins):
        """The sums over a batch, and one sequence at a time by one-hot values."""
        from lra_bench.analysis.matrix import layer_matrices
        from lra_bench.data.location import locate
        from lra_bench.data.store import open_store
        from lra_bench.training.restore import load_model

        settings, task, model = load_model(proteins / "run")
        split = open_store(locate(proteins / "data", task, "fasta")).splits["test"]
        setup = similarity.Setup(proteins / "run", proteins / "data", examples=3, length=20)
        ids = similarity._amino_acids(task, settings)
        batches = similarity._batches(split, ids, setup)
        found = similarity.tallied(model.encoder, batches, lambda *_: None, is_causal=True)
        expected = 0
        for index in split.spread(3):
            tokens = np.asarray(split.tokens[index][:20])
            groups = (tokens[:, None] == ids).astype(float)
            layers = np.stack(layer_matrices(model.encoder, tokens))
            assert not np.triu(layers, 1).any()
            expected = expected + groups.T @ layers @ groups
        np.testing.assert_allclose(found.given, expected, rtol=1e-4, atol=1e-5)

    def test_matrix_names_residues(self, cli, proteins, tmp_path, monkeypatch):
        from lra_bench.analysis import heat_maps

        drawn = []
        draw = heat_maps.matrices
        monkeypatch.setattr(heat_maps, "matrices", lambda *args: (drawn.append(args), draw(*args)))
        call = ("analyze", "matrix", proteins / "run", "--data-dir", proteins / "data")
        status, out, err = cli(*call, "--out", tmp_path, "--show", 12)
        assert (status, err) == (0, ""), out
        ((layers, axes, *_),) = drawn
        assert axes.is_causal
        assert axes.texts[0] == "<"
        assert set(axes.texts[1:]) <= set("ACDEFGHIKLMNPQRSTVWY")
        assert len(axes.texts) == layers[0].shape[-1] == 12
        assert np.load(tmp_path / "matrices.npz")["layer_2"].shape[-1] == 48

    def test_refused(self, cli, proteins, tmp_path, monkeypatch):
        call = ("analyze", "similarity", proteins / "run", "--out", tmp_path / "a")
        call = (*call, "--data-dir", proteins / "data")
        refused(cli(*call, "--examples", 1, "--length", 8), 2, "no sequence holds both", "--length")
        refused(cli(*call, "--split", "tset"), 2, "did you mean 'test'")
        settings, task, model = similarity.load_model(proteins / "run")
        for found, words in (
            ((settings, Letters(), model), "letters: its tokens are not amino acids"),
            ((replace(settings, attention="fnet"), task, model), "fnet is a mixer, without att"),
        ):
            monkeypatch.setattr(similarity, "load_model", lambda _, found=found: found)
            refused(cli(*call), 2, words)
        assert not (tmp_path / "a").exists()
