"""The studies: their formulas against other ways to the same number, their commands end to end."""

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from common import SMOKE, read_record
from flax import nnx
from scipy import special

from lra_bench.analysis import approximation, matrix, propagation, variance
from lra_bench.analysis.matrix import Call, one_hot_matrix, real_tokens, token_texts
from lra_bench.attentions.performer_softmax import PerformerSoftmax
from lra_bench.config import make_settings
from lra_bench.contracts import Dims
from lra_bench.errors import RunError, UsageError
from lra_bench.files.regular import sha256
from lra_bench.model.encoder import Encoder
from lra_bench.model.mechanism import build_attention
from lra_bench.registry import ATTENTIONS
from lra_bench.training.restore import load_model, load_settings, load_state


class TestClosedForms:
    X, Y = np.array([0.3, -0.2, 0.1]), np.array([0.4, 0.5, -0.3])

    def gauss(self, f, z):
        """E f(w^T z) by Gauss-Hermite quadrature, w^T z ~ N(0, |z|^2)."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        return np.sum(weights * f(nodes * np.linalg.norm(z))) / np.sqrt(2 * np.pi)

    @pytest.mark.parametrize("estimator", variance.ESTIMATORS)
    def test_lemma_2_is_the_variance_of_a_feature(self, estimator):
        x, y = self.X, self.Y
        less = math.exp(-(x @ x + y @ y) / 2)
        of, z = {
            "positive": (lambda t: less * np.exp(t), x + y),
            "hyperbolic": (lambda t: less * np.cosh(t), x + y),
            "trigonometric": (lambda t: np.cos(t) / less, x - y),
        }[estimator]
        mean, square = self.gauss(of, z), self.gauss(lambda t: of(t) ** 2, z)
        assert mean == pytest.approx(math.exp(x @ y))
        assert variance.mse(estimator, x, y, 5) == pytest.approx((square - mean**2) / 5)

    def test_orthogonal_error_in_one_dimension_of_features(self):
        """m = 1 leaves nothing to be orthogonal to; m = 2 in d = 2 by quadrature over angles."""
        x, y = np.array([0.5, 0.2]), np.array([0.3, -0.1])
        assert variance.orthogonal_mse(x, y, 1) == pytest.approx(variance.mse("positive", x, y, 1))
        z = np.linalg.norm(x + y)
        angle = 2 * np.pi * np.arange(64) / 64

        def mean_over_norms(c):
            """E exp(r c), r the norm of a Gaussian vector in two dimensions."""
            r = np.linspace(0, 12, 4001)
            return np.trapezoid(r * np.exp(-(r**2) / 2 + np.outer(c, r)), r, axis=1)

        pair = mean_over_norms(z * np.cos(angle)) * mean_over_norms(z * np.sin(angle))
        kernel = math.exp(x @ y)
        covariance = math.exp(-(x @ x + y @ y)) * pair.mean() - kernel**2
        expected = variance.mse("positive", x, y, 2) + covariance / 2
        assert variance.orthogonal_mse(x, y, 2) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("dim", [3, 16, 64])
    def test_theorem_2_bounds_the_exact_error(self, dim):
        for length in (0.1, 0.5, 1.5):
            for angle in (0.1, 1.0, 2.5):
                pair = variance.vectors(length, angle, dim)
                exact = variance.orthogonal_mse(*pair, dim)
                bound = variance.orthogonal_mse_bound(*pair, dim)
                assert 0 < exact <= bound * (1 + 1e-12) < variance.mse("positive", *pair, dim)

    @pytest.mark.parametrize("dim", [2, 16, 1024])
    @pytest.mark.parametrize("w", [0.1, 2.0, 20.0])
    def test_regularized_ratio_is_a_bessel_function(self, w, dim):
        """The mean of exp over a sphere is 0F1(; d/2; d |z|^2 / 4)."""
        expected = math.exp(-w) * special.hyp0f1(dim / 2, dim * w / 2)
        assert variance.regularized_ratio(w, dim) == pytest.approx(expected)
        assert variance.regularized_bound(w, dim) <= expected <= 1

    def test_vectors(self):
        x, y = variance.vectors(0.7, 1.2, 9)
        assert np.linalg.norm(x) == pytest.approx(0.7)
        assert x @ y == pytest.approx(0.7**2 * math.cos(1.2))

    def test_ratio_surface(self):
        """Trigonometric features are exact at angle 0, positive ones at pi: Fig. 2."""
        table = variance.ratio_surface().set_index(["length", "angle"])["log10_ratio"]
        assert np.isfinite(table).all()
        long = table[2.0]
        assert long.iloc[0] < 0 < long.iloc[-1]
        assert (np.diff(long) > 0).all()


class TestApproximation:
    SETUP = approximation.Setup(length=96, dim=8)

    @pytest.mark.parametrize("name", ["trigonometric, iid", "positive, Hadamard"])
    def test_it_is_the_error_of_the_mechanism(self, name):
        """The shortcut around drawing changes nothing."""
        key, dims = jax.random.key(3), Dims(1, 8, 96)
        inputs = approximation.draw_inputs(self.SETUP, 0.5, key)
        options = approximation.VARIANTS[name]
        mechanism = jax.jit(
            lambda q, k, v: PerformerSoftmax(dims, num_features=16, rngs=nnx.Rngs(key), **options)(
                q, k, v, jnp.ones((1, 96), bool)
            )
        )
        expected = np.mean(np.square(mechanism(*inputs[:3]) - inputs.exact))
        drawn = approximation.projection(key, dims, 16, options)
        found = approximation.squared_error(inputs, drawn, 16, options)
        np.testing.assert_allclose(found, expected, rtol=1e-3)

    def test_exact_attention(self):
        q, k, v = np.random.default_rng(0).normal(size=(3, 700, 4))
        expected = special.softmax(q @ k.T / 2, axis=1) @ v
        np.testing.assert_allclose(approximation.exact_attention(q, k, v), expected)

    def test_claims_are_paired(self):
        better, worse = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 7.0])
        errors = dict.fromkeys(approximation.VARIANTS, better)
        errors |= {"positive, iid": worse, "trigonometric, orthogonal": 2 * worse}
        errors |= {"trigonometric, iid": better**2}
        rows = [
            (1.0, draw, name, 8, 8, mse)
            for name, found in errors.items()
            for draw, mse in enumerate(found)
        ]
        names = ["scale", "draw", "variant", "num_features", "feature_values", "mse"]
        claims = approximation.compare(pd.DataFrame(rows, columns=names)).set_index("claim")
        first = claims.loc["positive: orthogonal < iid"]
        assert first["holds"]
        gain = worse - better
        assert first["mse_ratio"] == pytest.approx(13 / 6)
        expected = gain.mean() / (gain.std(ddof=1) / math.sqrt(3))
        assert first["standard_errors"] == pytest.approx(expected)
        assert first["draws_won"] == 3
        assert not claims.loc["trigonometric: orthogonal < iid"]["holds"]
        assert len(claims) == 4, "no m has half of it here"

    def test_means_are_geometric(self):
        """One huge error turns the mean, and not the verdict."""
        errors = {name: np.arange(1.0, 5) ** n for n, name in enumerate(approximation.VARIANTS, 1)}
        errors |= {"positive, iid": np.ones(4)}
        errors |= {"positive, orthogonal": np.array([0.5, 0.5, 0.5, 4.0])}
        rows = [
            (1.0, draw, name, 8, 8, mse)
            for name, found in errors.items()
            for draw, mse in enumerate(found)
        ]
        names = ["scale", "draw", "variant", "num_features", "feature_values", "mse"]
        frame = pd.DataFrame(rows, columns=names)
        summary = approximation.summarise(frame).set_index("variant").loc["positive, orthogonal"]
        assert summary["mse"] == pytest.approx(1.375)
        assert summary["geometric_mean"] == pytest.approx(0.5 ** (1 / 4))
        assert summary["geometric_sd"] == pytest.approx(2 ** np.std([1, 1, 1, -2], ddof=1))
        claim = approximation.compare(frame).set_index("claim").loc["positive: orthogonal < iid"]
        assert claim["holds"]
        assert claim["mse_ratio"] < 1 < claim["geometric_ratio"]


class TestPropagation:
    def test_same_weights(self):
        """Another exact mechanism, drawn by another key, puts out the same."""
        setup = propagation.Setup(layers=2, emb_dim=8, ffn_dim=12, num_heads=2, length=10)
        keys = jax.random.split(jax.random.key(0), 4)
        x = jax.random.normal(keys[2], (1, 10, 8))
        exact = propagation.outputs(setup, "softmax", {}, keys[0], keys[1], x)
        fused = propagation.outputs(setup, "softmax-fused", {}, keys[0], keys[3], x)
        assert exact.shape == (2, 1, 10, 8)
        np.testing.assert_allclose(fused, exact, rtol=1e-4, atol=1e-5)
        assert float(jnp.max(jnp.abs(exact[1] - exact[0]))) > 0.1


# One of each kind; the others do as another of their kind does.
USUAL = ("identity", "linformer", "performer-softmax", "reformer", "softmax", "bigbird", "luna")
# A mixer is not linear in its input; the features of AFT have weights of their own.
MECHANISMS = [
    pytest.param(x, marks=[] if x in USUAL else pytest.mark.slow)
    for x in ATTENTIONS.names()
    if x != "aft-simple" and not ATTENTIONS.get(x).traits.mixer
]


class TestMatrix:
    DIMS = Dims(2, 5, 17)

    @pytest.fixture
    def call(self):
        q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 17, 2, 5))
        return Call(q, k, v, jnp.ones((1, 17), bool))

    def test_softmax(self, call):
        found = one_hot_matrix(ATTENTIONS.get("softmax").target, call)
        logits = np.einsum("blhd,bmhd->bhlm", call.q, call.k) / np.sqrt(5)
        np.testing.assert_allclose(found, special.softmax(logits, axis=-1), rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("name", MECHANISMS)
    def test_times_v_it_is_the_output(self, call, name):
        attend = build_attention(name, self.DIMS, {}, nnx.Rngs(0))
        if ATTENTIONS.get(name).traits.shares_query_key:
            call = call._replace(k=call.q)
        found, out = jax.jit(lambda call: (one_hot_matrix(attend, call), attend(*call)))(call)
        again = jnp.einsum("bhlm,bmhd->blhd", found, call.v)
        np.testing.assert_allclose(again, out, rtol=1e-3, atol=1e-4)

    def test_weights_of_features_are_averaged(self, call):
        attend = ATTENTIONS.get("aft-simple").target
        found = one_hot_matrix(attend, call)
        weights = special.softmax(np.asarray(call.k), axis=1)[:, None]
        expected = np.mean(special.expit(np.asarray(call.q))[:, :, None] * weights, axis=-1)
        np.testing.assert_allclose(found, np.moveaxis(expected, 3, 1), rtol=1e-4)

    def test_real_tokens(self):
        class Documents:
            paired, pad_id = True, 0

        tokens = np.array([[3, 4, 5, 0, 0], [6, 7, 0, 0, 0]])
        assert real_tokens(Documents, tokens, 9).tolist() == [3, 4, 5]
        assert real_tokens(Documents, tokens, 2).tolist() == [3, 4]
        with pytest.raises(UsageError, match=r"padding \(black pixels\) before real"):
            real_tokens(Documents, np.array([[3, 0, 5], [6, 7, 0]]), 9)

    def test_texts_of_tokens(self):
        """None where a token means something else alone: in a character, at the end, as a pixel."""
        words = SimpleNamespace(side=None, paired=False, to_text=lambda x: " ".join(map(str, x)))
        assert token_texts(words, np.array([3, 14])) == ["3", "14"]
        pixels = SimpleNamespace(side=2, paired=False, to_text=lambda x: str(x.reshape(2, 2)))
        assert token_texts(pixels, np.array([3, 14])) is None
        ended = SimpleNamespace(side=None, paired=False, to_text=lambda x: f"{words.to_text(x)}?")
        assert token_texts(ended, np.array([3, 14])) is None

    def test_facts(self):
        table = matrix.summarise([np.stack([np.eye(4), np.full((4, 4), 0.25)])])
        assert table["entropy"].tolist() == pytest.approx([0, math.log(4)])
        assert table["diagonal"].tolist() == pytest.approx([1, 0.25])
        assert table["within_2"].tolist() == pytest.approx([1, 14 / 16])
        assert table["entropy_uniform"].tolist() == pytest.approx([math.log(4)] * 2)

    def test_uniform_rows_of_a_causal_model_see_no_later_token(self):
        even = np.tri(4) / np.arange(1, 5)[:, None]
        (row,) = matrix.summarise([even[None]], is_causal=True).to_dict("records")
        assert row["entropy"] == pytest.approx(row["entropy_uniform"])
        assert row["entropy_uniform"] == pytest.approx(math.log(24) / 4)

    @pytest.mark.parametrize("attention", ["softmax", "fnet"])
    def test_cls_is_in_the_matrices_and_the_padding_of_the_model_is_not(self, attention):
        task = SimpleNamespace(pad_id=0, vocab_size=9, max_len=12)
        settings = make_settings("listops", attention, "smoke", 0).model
        sizes = {"emb_dim": 8, "ffn_dim": 8, "num_heads": 2, "head_dim": 4, "num_layers": 1}

        def found(**changes):
            model = replace(settings, **sizes, **changes)
            encoder = Encoder(task, model, attention, {}, nnx.Rngs(0))
            return matrix.layer_matrices(encoder, np.array([3, 1, 4, 1, 5]))[0]

        plain = found(pooling="mean")
        assert plain.shape[1:] == (5, 5)
        padded = found(pooling="mean", padded_length=12)
        np.testing.assert_allclose(padded, plain, rtol=1e-4, atol=1e-6)
        with_cls = found(pooling="cls", padded_length=12)
        assert with_cls.shape[1:] == (6, 6)
        np.testing.assert_allclose(with_cls.sum(axis=-1), 1, rtol=1e-4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    from lra_bench.cli import main

    out = tmp_path_factory.mktemp("analysed") / "run"
    few = ("--set", "attention.num_features=16")
    assert main([*SMOKE, *few, "--out", str(out), "--data-dir", str(data_dir)]) == 0
    return out


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestRestore:
    def test_settings_and_best_step(self, finished):

        found = read_record(finished / "record.json")
        settings, params, sampled, step = load_state(finished)
        assert settings.as_dict() == found["config"]
        assert step == found["best_step"]
        assert sum(x.size for x in params.values()) == found["parameters"]
        assert list(sampled) == ["encoder.blocks.0.attention.attend.projection"]

    def test_the_model_is_the_one_that_was_tested(self, finished, data_dir):
        from lra_bench.data.location import locate
        from lra_bench.data.store import open_store

        before = contents(finished)
        settings, task, model = load_model(finished)
        split = open_store(locate(data_dir, task, settings.data_source)).splits["test"]
        logits = nnx.jit(lambda model, tokens: model(tokens))(model, split.tokens[:])
        accuracy = np.mean(np.argmax(logits, axis=-1) == split.labels)
        assert accuracy == read_record(finished / "record.json")["test"]["accuracy"]
        assert contents(finished) == before

    def test_without_an_evaluation_the_latest(self, finished, tmp_path):
        run = shutil.copytree(finished, tmp_path / "run")
        for place in (run / "checkpoints").iterdir():
            (place / "metrics/metrics").write_text('{"selection": -1.0}')
            sums = json.loads((place / "checksums.json").read_text())
            sums["metrics/metrics"] = sha256(place / "metrics/metrics")
            (place / "checksums.json").write_text(json.dumps(sums))
        assert load_state(run)[3] == max(int(x.name) for x in (run / "checkpoints").iterdir())

    def test_damage_is_told_and_left_alone(self, finished, tmp_path):
        run = shutil.copytree(finished, tmp_path / "run")
        file = next((run / "checkpoints" / str(load_state(run)[3]) / "default").rglob("d/*"))
        file.write_bytes(b"x" + file.read_bytes()[1:])
        before = contents(run)
        with pytest.raises(RunError, match="is damaged; lra-bench run --resume"):
            load_state(run)
        assert contents(run) == before
        (run / "config.json").write_text("[]")
        with pytest.raises(RunError, match=r"config\.json can't be read"):
            load_settings(run)

    def test_no_run(self, finished, tmp_path):
        with pytest.raises(UsageError, match="holds no run"):
            load_state(tmp_path)
        shutil.copy(finished / "config.json", tmp_path)
        with pytest.raises(UsageError, match="holds no checkpoint yet"):
            load_state(tmp_path)


@pytest.mark.ci
class TestCommand:
    def test_approximation(self, cli, tmp_path, monkeypatch):
        papers = dict(list(approximation.VARIANTS.items())[:4])
        monkeypatch.setattr(approximation, "VARIANTS", papers)
        options = ("--length", 32, "--dim", 4, "--draws", 2, "--features", "4", "--scales", "1")
        status, out, err = cli("analyze", "approximation", "--out", tmp_path / "new/a", *options)
        assert (status, err) == (0, "")
        assert "| positive: orthogonal < iid" in out
        assert len(pd.read_csv(tmp_path / "new/a/claims.csv")) == 4
        assert len(pd.read_csv(tmp_path / "new/a/approximation.csv")) == 4
        errors = pd.read_csv(tmp_path / "new/a/approximation-draws.csv")
        assert len(errors) == errors["mse"].nunique() == 2 * len(approximation.VARIANTS)
        assert (errors["mse"] > 0).all()
        two = errors["variant"].str.contains("trigonometric|hyperbolic")
        assert (errors["feature_values"] == 4 * np.where(two, 2, 1)).all()
        assert (tmp_path / "new/a/approximation.png").stat().st_size > 10_000

    def test_variance(self, cli, tmp_path, monkeypatch):
        monkeypatch.setattr(variance, "DIMS", (16, 64))
        options = ("--out", tmp_path, "--samples", 2000, "--dim", 4, "--features", 4)
        status, out, err = cli("analyze", "variance", *options)
        assert (status, err) == (0, ""), out
        assert out.count("ok    ") == 3
        lemma = pd.read_csv(tmp_path / "lemma2.csv")
        assert set(lemma["estimator"]) == set(variance.ESTIMATORS)
        for name in ("variance", "theorem1", "ratio"):
            assert (tmp_path / f"{name}.png").stat().st_size > 10_000

    def test_a_violated_closed_form_is_status_1(self, cli, tmp_path, monkeypatch):
        monkeypatch.setattr(variance, "DIMS", (16,))
        right = variance.mse
        monkeypatch.setattr(variance, "mse", lambda *args: 1.5 * right(*args))
        options = ("--out", tmp_path, "--samples", 2000, "--dim", 4, "--features", 4)
        status, out, _ = cli("analyze", "variance", *options)
        assert status == 1
        assert "WRONG Lemma 2's closed forms" in out

    def test_propagation(self, cli, tmp_path, monkeypatch):
        cheap = {"iid": {"projection": "iid"}}
        cheap["trigonometric"] = {**cheap["iid"], "estimator": "trigonometric"}
        monkeypatch.setattr(propagation, "VARIANTS", cheap)
        options = ("--layers", 2, "--length", 16, "--features", 8, "--draws", 2)
        status, _, err = cli("analyze", "propagation", "--out", tmp_path, *options)
        assert (status, err) == (0, "")
        assert len(pd.read_csv(tmp_path / "propagation.csv")) == 2 * len(propagation.VARIANTS)
        assert (tmp_path / "propagation.png").exists()

    def test_matrix(self, cli, finished, tmp_path):
        before = contents(finished)
        options = ("--out", tmp_path, "--example", 3, "--length", 20)
        status, out, err = cli("analyze", "matrix", finished, *options)
        assert (status, err) == (0, ""), out
        found = np.load(tmp_path / "matrices.npz")["layer_1"]
        assert found.shape[0] == 2
        assert found.shape[1] == found.shape[2] <= 20
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-4)
        assert (tmp_path / "matrix.png").exists()
        assert len(pd.read_csv(tmp_path / "matrix.csv")) == 2
        assert contents(finished) == before

    def test_the_figure_of_a_matrix_names_cls(self, cli, data_dir, tmp_path, monkeypatch):
        few = (
            "--set",
            "model.pooling=cls",
            "--set",
            "train.num_steps=2",
            "--set",
            "train.eval_every=2",
        )
        run = (*SMOKE, "--attention", "linear", *few, "--out", tmp_path / "run")
        assert cli(*run, "--data-dir", data_dir)[0] == 0
        drawn = []
        monkeypatch.setattr(matrix.heat_maps, "matrices", lambda *given: drawn.append(given))
        options = ("--out", tmp_path / "a", "--length", 6, "--show", 3)
        assert cli("analyze", "matrix", tmp_path / "run", *options)[0] == 0
        ((layers, axes, title, _),) = drawn
        assert layers[0].shape[1:] == (3, 3)
        assert axes.texts[0] == "CLS"
        assert len(axes.texts) == 3
        assert title.endswith(", CLS and first 6 tokens, 3 of them shown")
        assert np.load(tmp_path / "a/matrices.npz")["layer_1"].shape[1:] == (7, 7)

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            ((), "required: STUDY"),
            (("variety", "--out", "a"), "unknown command 'variety'; did you mean 'variance'"),
            (("variance",), "required: --out"),
            (("variance", "--out", "a", "--samples", "9"), "'9' is not a whole number from 100"),
            (("variance", "--out", "a", "--dim", "1"), "(vectors of one feature have no angle"),
            (("approximation", "--out", "a", "--draws", "1"), "(standard errors need two draws)"),
            (("approximation", "--out", "a", "--features", "8,x"), "'x' is not a whole number"),
            (("approximation", "--out", "a", "--scales", "0"), "'0' is not a number above 0"),
            (("matrix", "nowhere", "--out", "a"), "nowhere: no such file or folder"),
        ],
    )
    def test_wrong_calls(self, cli, tmp_path, monkeypatch, args, words):
        monkeypatch.chdir(tmp_path)
        status, out, err = cli("analyze", *args)
        assert status == 2, out
        assert len(err.splitlines()) == 1
        assert words in err
        assert not list(tmp_path.iterdir())

    def test_wrong_example_and_split(self, cli, finished, tmp_path):
        run = ("analyze", "matrix", finished, "--out", tmp_path / "a")
        status, _, err = cli(*run, "--example", 64)
        assert (status, err) == (2, "lra-bench: --example 64: test has 0 to 63\n")
        status, _, err = cli(*run, "--split", "tset")
        assert status == 2
        assert "did you mean 'test'" in err
        assert not (tmp_path / "a").exists()
