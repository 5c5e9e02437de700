"""The Python interface: what `import lra_bench` gives."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from own_files import write_attention

import lra_bench
from lra_bench.cli import main
from lra_bench.model.mechanism import build_attention

SIZES = {"num_heads": 2, "head_dim": 4, "max_len": 16}
FEW = {"num_steps": 2, "eval_every": 2, "log_every": 2}


TWO = """
from lra_bench import register_attention

@register_attention("shared", shares_query_key=True)
def shared(q, k, v, mask):
    return k + v

@register_attention("mixed", mixer=True)
def mixed(x, mask):
    return 2 * x
"""


def tokens(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_the_import_alone_is_light(environment):
    """Neither JAX nor NumPy, without which it takes hundredths of a second."""
    code = (
        "import sys; before = set(sys.modules); import lra_bench; dir(lra_bench);"
        "print(*sorted(x.partition('.')[0] for x in set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    heavy = {"jax", "flax", "numpy", "pandas", "rich", "matplotlib", "scipy", "orbax"}
    assert heavy & set(done.stdout.split()) == set()
    assert "lra_bench" in done.stdout


def test_every_name_is_there_and_documented():
    for name in lra_bench.__all__:
        assert getattr(lra_bench, name).__doc__.strip(), name
        assert name in dir(lra_bench)
    assert lra_bench.UsageError is lra_bench.errors.UsageError
    with pytest.raises(AttributeError, match="has no attribute 'atention'"):
        lra_bench.atention  # noqa: B018


def test_names_and_their_modules_are_those_of_the_type_checker():
    """What type checkers read and what Python imports are two lists in one file."""
    text = Path(lra_bench.__file__).read_text().split("TYPE_CHECKING:\n")[1].split("\n\n")[0]
    imports = re.findall(r"from lra_bench\.(\S+) import (.+)", text)
    declared = {name: home for home, names in imports for name in names.split(", ")}
    assert declared.pop("records") == "records.frame"
    assert declared == lra_bench._HOMES
    assert sorted([*declared, "records"]) == sorted(lra_bench.__all__)


class TestAttention:
    def test_it_is_the_mechanism(self):
        q, k, v = tokens(3, 2, 9, 2, 4)
        mask = np.arange(9) < np.array([9, 5])[:, None]
        attend = lra_bench.attention("performer-softmax", **SIZES, seed=3, num_features=8)
        options, dims = {"num_features": 8}, lra_bench.Dims(2, 4, 16)
        same = build_attention("performer-softmax", dims, options, nnx.Rngs(3))
        np.testing.assert_array_equal(attend(q, k, v, mask), same(q, k, v, mask))

    def test_without_a_mask_every_token_is_real(self):
        q, k, v = tokens(3, 1, 9, 2, 4)
        attend = lra_bench.attention("softmax", **SIZES)
        np.testing.assert_array_equal(attend(q, k, v), attend(q, k, v, np.ones((1, 9), bool)))

    def test_shared_queries_and_mixers(self, tmp_path):
        path = tmp_path / "two.py"
        path.write_text(TWO)
        q, k, v = tokens(3, 1, 16, 2, 4)
        shared = lra_bench.attention(f"{path}:shared", **SIZES)
        np.testing.assert_array_equal(shared(q, k, v), q + v)
        mixed = lra_bench.attention(f"{path}:mixed", **SIZES)
        np.testing.assert_array_equal(mixed(v.reshape(1, 16, 8)), 2 * v.reshape(1, 16, 8))

    def test_a_mixer_is_called_with_its_input_and_the_mask(self):
        x, mask = tokens(1, 9, 8), np.arange(9)[None] < 5
        fnet = lra_bench.attention("fnet", **SIZES)
        np.testing.assert_array_equal(fnet(x, mask), fnet(x, mask=mask))
        assert np.abs(fnet(x, mask)[0, :5] - fnet(x)[0, :5]).max() > 0.1

    def test_sizes_and_options_may_be_numbers_of_numpy(self):
        sizes = {name: np.int64(size) for name, size in SIZES.items()}
        attend = lra_bench.attention("linformer", **sizes, num_projected=np.int32(3))
        assert attend.dims == lra_bench.Dims(2, 4, 16)
        assert attend(*tokens(3, 1, 9, 2, 4)).shape == (1, 9, 2, 4)

    def test_its_parameters_are_those_of_a_module_and_it_may_be_compiled(self):
        attend = lra_bench.attention("linformer", **SIZES, num_projected=3)
        q, k, v = tokens(3, 1, 9, 2, 4)
        graph, state = nnx.split(attend, nnx.Param)
        assert jax.tree.leaves(state)
        grads = jax.grad(lambda state: nnx.merge(graph, state)(q, k, v).sum())(state)
        assert any(np.abs(x).max() > 0 for x in jax.tree.leaves(grads))

    def test_a_file_of_the_user(self, tmp_path):
        path = write_attention(tmp_path / "mine.py")
        q, k, v = tokens(3, 1, 9, 2, 4)
        out = lra_bench.attention(path, **SIZES, scale=2.0)(q, k, v)
        np.testing.assert_allclose(out[0, 4], 2 * v[0].mean(0), rtol=1e-5)

    @pytest.mark.parametrize(
        ("call", "error", "said"),
        [
            (lambda x: lra_bench.attention("softmx", **SIZES), lra_bench.UsageError, "'softmax'"),
            (
                lambda x: lra_bench.attention("linformer", **SIZES, num_project=3),
                lra_bench.UsageError,
                "unknown option of linformer 'num_project'; did you mean 'num_projected'",
            ),
            (
                lambda x: lra_bench.attention("linformer", **SIZES, num_projected=0),
                lra_bench.UsageError,
                "num_projected=0: must be a whole number from 1",
            ),
            (
                lambda x: lra_bench.attention("softmax", num_heads=0, head_dim=4, max_len=16),
                lra_bench.UsageError,
                "num_heads=0: must be a whole number from 1",
            ),
            (lambda x: softmax()(x), ValueError, r"softmax is called with \(q, k, v, mask\)"),
            (lambda x: softmax()(x, x, x[:, :3]), ValueError, r"v is \(1, 3, 2, 4\), expected"),
            (lambda x: softmax()(x[0], x[0], x[0]), ValueError, r"q is \(9, 2, 4\), expected"),
            (lambda x: softmax()(x, x, x, x), ValueError, r"mask is .* expected \(b, l\) = \(1, 9"),
            (
                lambda x: lra_bench.attention("softmax", num_heads=True, head_dim=4, max_len=16),
                lra_bench.UsageError,
                "num_heads=True: must be a whole number from 1",
            ),
            (
                lambda x: softmax()(*[tokens(1, 17, 2, 4)] * 3),
                ValueError,
                "17 tokens are given, expected",
            ),
            (
                lambda x: lra_bench.attention("linear", **SIZES)(*[x[:, :0]] * 3),
                ValueError,
                "linear: 0 tokens are given, expected 1 to max_len=16",
            ),
            (
                lambda x: softmax()(x, x, x.astype(int)),
                ValueError,
                "softmax: v is int32, expected floats, as float32",
            ),
            (
                lambda x: lra_bench.attention("fnet", **SIZES)(x, x, x),
                ValueError,
                r"fnet is called with \(x, mask\)",
            ),
        ],
    )
    def test_wrong_calls(self, call, error, said):
        with pytest.raises(error, match=said):
            call(tokens(1, 9, 2, 4))


def softmax():
    return lra_bench.attention("softmax", **SIZES)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """A run by `lra_bench.run`: its record, the arguments, and its folder."""
    out = tmp_path_factory.mktemp("api") / "run"
    words = {"preset": "smoke", "out": out, "data_dir": data_dir, "quiet": True, **FEW}
    return lra_bench.run("listops", "linear", **words), words, out


@pytest.mark.ci
class TestRun:
    def test_the_record(self, finished):
        record, _, out = finished
        assert (record.status, record.attention, record.seed) == ("ok", "linear", 0)
        assert record.config["train"]["num_steps"] == 2
        assert 0 <= record.test.accuracy <= 1
        assert record.path == out / "record.json"

    def test_it_is_the_run_of_the_command_line(self, finished, tmp_path, data_dir, capsys):
        settings = [word for key in FEW for word in ("--set", f"train.{key}=2")]
        words = ["run", "--preset", "smoke", "--attention", "linear", *settings]
        words += ["--out", str(finished[2]), "--data-dir", str(data_dir), "--resume"]
        assert main(words) == 0
        assert "test accuracy" in capsys.readouterr().out

    def test_a_finished_run_is_not_done_again(self, finished, monkeypatch):
        record, words, _ = finished
        monkeypatch.setattr("lra_bench.api.run.execute", None)
        assert lra_bench.run("listops", "linear", **words) == record
        with pytest.raises(lra_bench.UsageError, match="holds a finished run"):
            lra_bench.run("listops", "linear", **words, resume=False)
        with pytest.raises(lra_bench.UsageError, match="num_steps is 2 there, 3 here"):
            lra_bench.run("listops", "linear", **{**words, "num_steps": 3})

    @pytest.mark.parametrize(
        ("overrides", "said"),
        [
            ({"seeds": [0, 1]}, "unknown setting 'seeds'; a run has one seed"),
            ({"num_step": 3}, "unknown setting 'num_step'; did you mean 'train.num_steps'"),
            ({"num_steps": "many"}, "train.num_steps='many': must be a whole number"),
            ({"vocab_size": 3, "train.x": 1}, "unknown --set key 'train.x'"),
            ({"causal": "maybe"}, "attention.causal='maybe': must be true or false"),
            ({"preset": "tiny"}, "unknown preset of listops 'tiny'; did you mean 'smoke'"),
            ({"seed": -1}, "--seed=-1: must be a whole number"),
        ],
    )
    def test_wrong_settings(self, overrides, said, tmp_path):
        words = {"preset": "smoke", "out": tmp_path / "run", **overrides}
        with pytest.raises(lra_bench.UsageError, match=said):
            lra_bench.run("listops", "linear", **words)
        assert not (tmp_path / "run").exists()


@pytest.mark.ci
class TestLoad:
    def test_model_settings_and_task(self, finished, data_dir):
        loaded = lra_bench.load(finished[2])
        assert (loaded.task.name, loaded.settings.attention) == ("listops", "linear")
        inputs, labels = loaded.examples("validation", 3, data_dir)
        assert labels.shape == (3,)
        assert loaded.model(inputs).shape == (3, loaded.task.num_classes)
        (matrix,) = loaded.attention_matrices(inputs[0], length=8)
        assert matrix.shape == (2, 8, 8)
        np.testing.assert_allclose(matrix.sum(-1), 1, rtol=1e-3)

    def test_wrong_calls(self, finished, data_dir, tmp_path):
        with pytest.raises(lra_bench.UsageError, match="holds no run: no such folder"):
            lra_bench.load(tmp_path / "nothing")
        with pytest.raises(lra_bench.UsageError, match="unknown split 'tset'; did you mean 'test'"):
            lra_bench.load(finished[2]).examples("tset", 3, data_dir)
        with pytest.raises(lra_bench.UsageError, match="count=0: must be a whole number from 1"):
            lra_bench.load(finished[2]).examples("test", 0, data_dir)

    def test_matrices_are_of_one_example(self, finished, data_dir):
        loaded = lra_bench.load(finished[2])
        inputs, _ = loaded.examples("test", 3, data_dir)
        with pytest.raises(lra_bench.UsageError, match=r"such as tokens\[0\]"):
            loaded.attention_matrices(inputs)
        with pytest.raises(lra_bench.UsageError, match=r"length is 0: .* a length from 1 on"):
            loaded.attention_matrices(inputs[0], length=0)


class TestRecords:
    def test_a_row_for_each_run(self, finished):
        table = lra_bench.records(finished[2].parent)
        (row,) = table.to_dict("records")
        record = finished[0]
        assert row["accuracy"] == record.test.accuracy
        assert (row["task"], row["attention"], row["seed"]) == ("listops", "linear", 0)
        assert (row["status"], row["path"]) == ("ok", str(record.path))

    def test_the_package_of_that_name_may_still_be_imported(self):
        import lra_bench.records.record as module

        assert module.FILE == "record.json"
        assert callable(lra_bench.records)

    def test_no_records(self, tmp_path):
        with pytest.raises(lra_bench.UsageError, match="no records in"):
            lra_bench.records(tmp_path)
        with pytest.raises(lra_bench.UsageError, match="no folder"):
            lra_bench.records(tmp_path / "nothing")
