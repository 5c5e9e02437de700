"""`lra-bench new` and `lra-bench verify`: what they write and print."""

import importlib.util

import pytest
from common import refused
from own_files import write_attention, write_task

from lra_bench.cli.new_texts import KINDS, texts

FIRST = {
    "attention": "ok    the output has the shape and the dtype of v",
    "task": "ok    the preset smoke is complete",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_file_keeps_the_contract_by_its_own_test(cli, tmp_path, kind):
    status, out, _ = cli("new", kind, "my-own", "--out", tmp_path / "new folder")
    assert status == 0
    code = tmp_path / "new folder/my_own.py"
    assert out.splitlines()[-1] == f"next: lra-bench verify '{code}'"
    spec = importlib.util.spec_from_file_location("test_my_own", code.with_name("test_my_own.py"))
    test = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(test)
    test.test_my_own_keeps_the_contract()
    status, out, _ = cli("verify", code)
    assert status == 0
    assert out.startswith(f"{kind} my-own\n{FIRST[kind]}\n")
    assert out.endswith("every promise is kept\n")


def test_a_new_task_runs_with_the_default_preset(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("new", "task", "my-ends")[0] == 0
    few = ("--limit", "2", "--set", "data.size=1000", "--data-dir", "data")
    status, out, _ = cli("run", "--task", "my_ends.py", "--attention", "linear", *few)
    assert status == 0, out
    assert "test accuracy" in out


@pytest.mark.parametrize("name", ["path", "block", "none", "any"])
def test_the_class_of_a_new_task_has_a_name_of_its_own(name):
    code, _ = texts("task", name).values()
    compile(code, f"{name}.py", "exec")
    assert f"class {name.capitalize()}Task:" in code


@pytest.mark.parametrize(
    ("kind", "name"), [*(("attention", x) for x in ("jax", "lra-bench", "json")), ("task", "numpy")]
)
def test_a_file_that_would_hide_a_module_is_not_written(cli, tmp_path, kind, name):
    refused(cli("new", kind, name, "--out", tmp_path / "new"), 2, "would hide the module")
    assert not (tmp_path / "new").exists()


def test_a_broken_promise_is_shown_with_a_counter_example(cli, tmp_path):
    path = write_attention(tmp_path / "mine.py")
    path.write_text(path.read_text().replace("real, v, 0", "real | True, v, 0"))
    status, out, _ = cli("verify", path)
    assert status == 1
    first = out.splitlines().index("WRONG padding is never read, even if it is NaN")
    assert "the output after the padding's k and v became 10000 is" in out.splitlines()[first + 1]
    assert "at example 1, token " in out.splitlines()[first + 1]
    assert out.splitlines()[-1] == f"{out.count('WRONG')} broken"


def test_an_exception_is_a_broken_promise_with_file_and_line(cli, tmp_path):
    path = write_attention(tmp_path / "mine.py")
    path.write_text(path.read_text().replace("real = mask", "real = q.nothing(mask)\n    mask"))
    status, out, _ = cli("verify", path)
    assert status == 1
    assert "      mine.py, line 11: AttributeError: " in out


def test_a_task_is_verified(cli, tmp_path):
    status, out, _ = cli("verify", write_task(tmp_path / "ends.py"))
    assert status == 0, out
    assert out.splitlines()[0] == "task same-ends"
    assert "ok    the same options give the same examples again" in out


def test_a_task_that_draws_anew_each_time_is_caught(cli, tmp_path):
    path = write_task(tmp_path / "ends.py")
    path.write_text(path.read_text().replace("default_rng([self.seed, number])", "default_rng()"))
    status, out, _ = cli("verify", path)
    assert status == 1
    assert "example 0 of train: " in out
    assert "differs the second time" in out


def test_the_data_of_a_task_of_files_are_left_to_data_check(cli):
    status, out, _ = cli("verify", "image")
    assert status == 0
    assert "note  its examples" in out
    assert "lra-bench data check image" in out
