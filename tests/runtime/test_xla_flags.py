"""The flags of XLA that change results are recorded, and a run goes on only under the same ones."""

import json
import os

import pytest
from common import SMOKE, read_record, refused

from lra_bench.runtime import xla_flags


def test_flags_that_count():
    def on(text, platform="cpu", **more):
        return xla_flags.flags({"XLA_FLAGS": text, **more}, platform)

    assert on("--xla_force_host_platform_device_count=8 --xla_dump_to=/x --xla_hlo_profile") == {}
    text = "--xla_b=1 --xla_cpu_max_isa=AVX2  --xla_b=false --xla_a"
    assert on(text) == {"XLA_FLAGS": "--xla_a --xla_b=false --xla_cpu_max_isa=AVX2"}
    assert on("--xla_gpu_autotune_level=0") == {}
    assert on("--xla_gpu_autotune_level=0", "gpu") != {}
    assert on("", LIBTPU_INIT_ARGS="--xla_tpu_x=2") == {}
    assert on("", "tpu", LIBTPU_INIT_ARGS="--xla_tpu_x=2") == {"LIBTPU_INIT_ARGS": "--xla_tpu_x=2"}


def test_flags_in_a_file_count(tmp_path):
    (tmp_path / "flags").write_text("--xla_a=2\n--xla_dump_to=/x\n")
    counted = xla_flags.flags({"XLA_FLAGS": str(tmp_path / "flags")}, "cpu")
    assert counted == {"XLA_FLAGS": "--xla_a=2"}


@pytest.mark.ci
def test_a_run_goes_on_only_under_the_same_flags(cli, monkeypatch, tmp_path):
    """JAX has read the variable long since: only what is recorded and compared is at test here."""
    out, run = tmp_path / "run", (*SMOKE, "--attention", "identity", "--set", "train.num_steps=4")
    before = "--xla_cpu_max_isa=AVX2 --xla_force_host_platform_device_count=2"
    monkeypatch.setenv("XLA_FLAGS", before)
    assert cli(*run, "--out", out)[0] == 0
    assert read_record(out / "record.json")["environment"]["xla_flags"] == before
    (out / "record.json").unlink()
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=1")
    result = cli(*run, "--out", out, "--resume")
    refused(result, 2, "XLA_FLAGS=--xla_cpu_max_isa=AVX2", "--xla_backend_optimization_level=1")
    noted = out / xla_flags.FILE  # two spellings of one flag
    noted.write_text(noted.read_text().replace("AVX2", "AVX2 --xla_cpu_x=true"))
    flags = "--xla_cpu_max_isa=AVX2 --xla_cpu_x=1 --xla_dump_to=/nowhere"
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert cli(*run, "--out", out, "--resume")[0] == 0


def test_a_run_of_an_older_version_takes_the_flags_of_now(tmp_path):
    xla_flags.check(tmp_path, "cpu")
    xla_flags.note(tmp_path, "cpu")
    xla_flags.check(tmp_path, "cpu")
    assert json.loads((tmp_path / xla_flags.FILE).read_text()) == xla_flags.flags(os.environ, "cpu")
