"""The command line from end to end: what a user types, what is printed, what is written."""

import json
import subprocess
import sys

import layouts
import pytest
from common import PATIENCE, SMOKE, read_record, refused

from lra_bench.cli import run
from lra_bench.records import answers
from lra_bench.registry import ATTENTIONS

# It runs most quickly of those that have no settings and learn.
LINEAR = (*SMOKE, "--attention", "linear")
KEYS = [
    "schema", "status", "error", "task", "attention", "preset", "seed", "config", "init_from",
    "parameters", "parameters_vs_softmax", "chance", "guess", "chance_loss", "uniform_loss",
    "best_step", "validation", "test", "held_out", "steps", "steps_per_second",
    "tokens_per_second", "flops_per_step", "peak_memory_bytes", "compile_seconds", "data",
    "environment", "checksum",
]  # fmt: skip


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """One finished smoke run, shared by the tests that only look at it or copy it."""
    from lra_bench.cli import main

    out = tmp_path_factory.mktemp("finished") / "run"
    assert main([*LINEAR, "--out", str(out), "--data-dir", str(data_dir)]) == 0
    return out


class TestHelp:
    def test_help_is_fast_to_import(self, environment):
        """The list of commands is printed without importing a heavy module."""
        code = (
            "import sys; from lra_bench.cli import parser; parser().format_help();"
            "heavy = {'jax', 'flax', 'numpy', 'pandas', 'tensorflow_datasets', 'orbax', 'rich'};"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize(
        "command",
        [
            (),
            *(
                (name,)
                for name in (
                    "run",
                    "efficiency",
                    "table",
                    "report",
                    "submit-check",
                    "analyze",
                    "data",
                    "list",
                    "new",
                    "verify",
                )
            ),
        ],
    )
    def test_help(self, cli, command):
        status, out, _ = cli(*command, "--help")
        assert status == 0
        assert "usage: lra-bench" in out

    def test_version(self, cli):
        assert cli("--version")[1].startswith("lra-bench ")


class TestList:
    def test_all(self, cli):
        status, out, _ = cli("list")
        assert status == 0
        assert all(name in out for name in ("tasks:", "listops", *ATTENTIONS.names(), "mini"))

    def test_json(self, cli):
        status, out, _ = cli("list", "attentions", "--json")
        assert status == 0
        assert list(json.loads(out)["attentions"]) == ATTENTIONS.names()


class TestRun:
    def test_record_is_as_specified(self, finished):
        values = json.loads((finished / "record.json").read_text())
        assert list(values) == KEYS
        assert (values["status"], values["error"], values["steps"]) == ("ok", None, 24)
        assert values["config"] == json.loads((finished / "config.json").read_text())
        assert values["parameters_vs_softmax"] == 1
        assert values["test"]["examples"] == values["validation"]["examples"] == 64
        right = answers.unpack(values["test"]["correct"], 64)
        assert right.mean() == values["test"]["accuracy"] == lines(finished)[-1]["accuracy"]
        assert 0 < right.sum() < 64
        assert values["chance"] > 0.1
        for key in ("steps_per_second", "tokens_per_second", "flops_per_step"):
            assert values[key] > 0
        assert values["compile_seconds"] is None or values["compile_seconds"] > 0
        assert values["tokens_per_second"] == pytest.approx(values["steps_per_second"] * 16 * 48)
        assert values["peak_memory_bytes"] > 1e8
        assert values["data"]["official"] is False
        assert values["data"]["sizes"] == {"train": 512, "validation": 64, "test": 64}
        assert values["environment"]["device_count"] >= 1

    def test_metrics_are_as_specified(self, finished):
        metrics = lines(finished)
        usual = ["step", "split", "loss", "accuracy", "seconds"]
        assert all(list(x) == [*usual, "crc32"] for x in metrics[:-1])
        assert list(metrics[-1]) == [*usual, "correct", "crc32"]
        assert [x["step"] for x in metrics if x["split"] == "train"] == [4, 8, 12, 16, 20, 24]
        assert [x["step"] for x in metrics if x["split"] == "validation"] == [8, 16, 24]
        assert [x["split"] for x in metrics][-1] == "test"

    def test_the_best_validation_step_is_tested(self, finished):
        record = read_record(finished / "record.json")
        validated = {
            x["step"]: x["accuracy"] for x in lines(finished) if x["split"] == "validation"
        }
        best = max(validated, key=lambda step: (validated[step], -step))
        assert record["best_step"] == best
        assert record["validation"]["accuracy"] == validated[best]
        assert lines(finished)[-1]["step"] == best
        assert lines(finished)[-1]["accuracy"] == record["test"]["accuracy"]

    @pytest.mark.ci
    def test_the_settings_of_the_loop_take_effect(self, cli, tmp_path):
        """--set log_every, eval_every, eval_batch_size and resample_every, seen in the files."""
        usual = ("train.log_every=5", "train.eval_every=6", "train.eval_batch_size=24")
        curves = []
        for every in (0, 3):
            out = tmp_path / str(every)
            options = [f"--set={item}" for item in (*usual, f"train.resample_every={every}")]
            options.append("--set=attention.num_features=16")
            assert cli(*SMOKE, "--out", out, *options)[0] == 0
            metrics = lines(out)
            assert [x["step"] for x in metrics if x["split"] == "train"] == [5, 10, 15, 20, 24]
            assert [x["step"] for x in metrics if x["split"] == "validation"] == [6, 12, 18, 24]
            curves.append([x["loss"] for x in metrics if x["split"] == "train"])
        assert curves[0] != curves[1]

    @pytest.mark.ci
    def test_seeds_differ_and_repeat(self, cli, finished, tmp_path, monkeypatch):
        """The second time in the default folder, and with the summary that is printed."""
        assert cli(*LINEAR, "--seed", 1, "--out", tmp_path / "other")[0] == 0
        monkeypatch.chdir(tmp_path)
        status, out, err = cli(*LINEAR)
        assert status == 0
        assert err == ""
        for word in ("test accuracy", "chance", "published", "16.1 % LRA paper", "steps/s"):
            assert word in out
        repeated = tmp_path / "runs/listops-linear-smoke-seed0"
        assert (repeated / "record.json").exists()
        keep = ("step", "split", "loss", "accuracy")
        first, other, again = (
            [[x[key] for key in keep] for x in lines(folder)]
            for folder in (finished, tmp_path / "other", repeated)
        )
        assert first == again
        assert first != other

    @pytest.mark.ci
    def test_bfloat16_and_accumulation_run(self, cli, finished, tmp_path):
        """Operations are those of the whole batch, into however many parts it is cut."""
        options = ("--set", "model.dtype=bfloat16", "--set", "train.accumulate=4")
        assert cli(*LINEAR, "--out", tmp_path / "run", *options)[0] == 0
        parts, whole = (read_record(x / "record.json") for x in (tmp_path / "run", finished))
        assert parts["environment"]["dtype"] == "bfloat16"
        # The parts' gradients are summed, which is next to nothing.
        assert parts["flops_per_step"] == pytest.approx(whole["flops_per_step"], rel=0.01)

    def test_out_of_memory_is_recorded(self, cli, tmp_path, monkeypatch):
        from lra_bench.training.programs import Programs

        def exhausted(self):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

        monkeypatch.setattr(Programs, "compile", exhausted)
        status, out, _ = cli(*SMOKE, "--out", tmp_path / "run")
        assert status == 1
        assert read_record(tmp_path / "run/record.json")["status"] == "out_of_memory"
        assert "out of memory: RuntimeError: RESOURCE_EXHAUSTED" in out

    @pytest.mark.ci
    def test_a_crash_is_recorded_with_its_trace_in_a_file(self, cli, tmp_path, monkeypatch):
        from lra_bench.training.programs import Programs

        def broken(self):
            raise ZeroDivisionError("inside")

        with monkeypatch.context() as patch:
            patch.setattr(Programs, "compile", broken)
            status, out, err = cli(*LINEAR, "--out", tmp_path / "run")
        assert status == 1
        assert "failed: ZeroDivisionError: inside (see" in out
        assert "Traceback" not in out + err
        assert "Traceback" in (tmp_path / "run/error.log").read_text()
        assert read_record(tmp_path / "run/record.json")["status"] == "failed"
        assert cli(*LINEAR, "--out", tmp_path / "run", "--resume")[0] == 0


@pytest.mark.ci
class TestReleaseFiles:
    @pytest.fixture
    def release(self, tmp_path):
        return layouts.listops(tmp_path)

    def test_prepare_check_show_and_run(self, cli, release, tmp_path):
        where = ("--data-dir", tmp_path / "store")
        options = ("--preset", "smoke", *where)
        prepare = cli("data", "prepare", "listops", "--source", release, *options)
        assert prepare[0] == 0, prepare[2]
        assert "prepared listops (release)" in prepare[1]
        assert "examples: train 64, validation 32, test 32" in prepare[1]
        status, out, _ = cli("data", "check", "listops", "--source", "release", *options)
        assert status == 0
        assert "not the published data" in out
        status, out, _ = cli("data", "show", "listops", "--source", "release", *options)
        assert status == 0
        assert out.count("label") == 3
        out_dir = tmp_path / "run"
        run = (*LINEAR, *where, "--out", out_dir)
        assert cli(*run, "--set", "data.source=release")[0] == 0
        assert read_record(out_dir / "record.json")["data"]["source"] == "release"

    def test_truncated_file(self, cli, release, tmp_path):
        file = release / "basic_test.tsv"
        file.write_bytes(file.read_bytes()[:-30])
        options = ("--preset", "smoke", "--data-dir", tmp_path / "store")
        status, _, err = cli("data", "prepare", "listops", "--source", release, *options)
        assert status == 1
        assert err.startswith("lra-bench: ")
        assert "basic_test.tsv:33: the last line is cut off: the file is truncated" in err


class TestBadInput:
    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (
                ("run", "--task", "listop"),
                ("unknown task 'listop'", "did you mean 'listops'?"),
            ),
            (("run", "--attention", "preformer"), ("performer-relu", "softmax", "did you mean")),
            (("run", "--preset", "tiny"), ("unknown preset of listops", "smoke, mini, small")),
            (("run", "--seed", "one"), ("argument --seed: 'one' is not a whole number",)),
            (("run", "--seed", "-1"), ("argument --seed: '-1' is not", "from 0 to 4294967295")),
            (("run", "--set", "train.num_step=3"), ("did you mean 'train.num_steps'",)),
            (("run", "--set", "train.num_steps=x"), ("must be a whole number from 1",)),
            (("run", "--set", "train.num_devices=64"), ("there are 1 here",)),
            (("run", "--set", "data.source=release"), ("lra-bench data prepare listops --source",)),
            (("run", "--sed", "1"), ("unknown option '--sed'", "did you mean '--se")),
            (("rum",), ("unknown command 'rum'", "did you mean 'run'")),
            ((), ("required: COMMAND",)),
            (("table",), ("name a folder of records, or --published",)),
            (("table", "nowhere"), ("nowhere: no such file or folder",)),
            (("table", ".", "--format", "pdf"), ("unknown format 'pdf'", "markdown")),
            (("data", "fetch", "listops"), ("unknown command 'fetch'", "prepare")),
            (("data", "check", "listops"), ("no data at",)),
            (("list", "models"), ("unknown kind 'models'", "attentions")),
        ],
    )
    def test_usage(self, cli, args, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        refused(cli(*args), 2, *words)
        assert not list(tmp_path.iterdir()), "a refused call leaves nothing behind"

    def test_missing_source(self, cli, tmp_path):
        result = cli("data", "prepare", "listops", "--source", tmp_path / "nowhere")
        refused(
            result, 2, "no such file or folder; valid: generate, PATH of basic_{train,val,test}"
        )
        result = cli("data", "prepare", "listops", "--source", tmp_path)
        refused(result, 1, "no basic_train.tsv")

    def test_folder_of_another_config(self, cli, finished):
        result = cli(*LINEAR, "--out", finished, "--resume", "--set", "train.num_steps=25")
        refused(result, 2, "another config: train.num_steps is 24 there, 25 here")
        refused(cli(*LINEAR, "--out", finished, "--seed", 3), 2, "seed is 0 there, 3 here")

    def test_folder_of_a_finished_run(self, cli, finished):
        refused(cli(*LINEAR, "--out", finished), 2, "holds a finished run", "--resume")
        status, out, _ = cli(*LINEAR, "--out", finished, "--resume")
        assert status == 0
        assert "test accuracy" in out

    def test_folder_of_something_else(self, cli, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        refused(cli(*SMOKE, "--out", tmp_path), 2, "is not empty and holds no run")
        refused(cli(*SMOKE, "--out", tmp_path / "thesis.tex"), 2, "is a file")

    def test_store_with_a_wrong_checksum(self, cli, tmp_path):
        data = tmp_path / "data"
        prepare = ("data", "prepare", "listops", "--preset", "smoke", "--data-dir", data)
        assert cli(*prepare)[0] == 0
        (file,) = data.rglob("train/tokens.npy")
        content = bytearray(file.read_bytes())
        content[500] ^= 1
        file.write_bytes(content)
        result = cli(*SMOKE, "--out", tmp_path / "run", "--data-dir", data)
        refused(result, 1, "tokens.npy doesn't match its checksum", "remove the folder")

    def test_unwritable_folder(self, cli, tmp_path):
        (tmp_path / "file").write_text("")
        result = cli(*SMOKE, "--out", tmp_path / "file" / "run")
        refused(result, 2, "--out", "/file/run: a part of it is a file, not a folder")


class TestTable:
    @pytest.mark.parametrize("style", ["markdown", "csv", "latex", "html"])
    def test_formats(self, cli, finished, style):
        status, out, _ = cli("table", finished, "--format", style, "--published")
        assert status == 0
        assert "linear" in out
        assert "16.13" in out or "0.1613" in out

    @pytest.mark.ci
    def test_into_a_pipe(self, spawn, finished):
        process = spawn("table", finished)
        out, err = process.communicate(timeout=PATIENCE)
        assert err == ""
        assert out.startswith("### preset smoke")


def test_a_loss_beyond_what_a_float_holds_has_a_perplexity():
    assert list(map(run._perplexity, (None, 0.0, 800.0))) == [
        "",
        ", perplexity 1.000",
        ", perplexity inf",
    ]
