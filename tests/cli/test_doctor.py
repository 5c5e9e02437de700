"""lra-bench doctor."""

import os

import jax
import pytest

from lra_bench.efficiency.supervise import Host
from lra_bench.errors import RunError
from lra_bench.runtime.environment import Environment


@pytest.fixture
def host(monkeypatch):
    place = Environment(device_kind="cpu", platform="cpu", device_count=1, host_cpu="a processor")
    monkeypatch.setattr(
        "lra_bench.efficiency.supervise.describe", lambda: Host(1, 2**33, place, "")
    )


def test_a_machine_that_is_ready(cli, host, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    status, out, err = cli("doctor", "--preset", "smoke", "--data-dir", tmp_path / "data")
    assert (status, err) == (0, "")
    assert f"jax {jax.__version__}" in out
    assert "ok    devices      1 x a processor, cpu, 8 GiB of the machine" in out
    assert "generated: listops, mqar, pathfinder, pathx, recall, span; " in out
    assert "missing: protein" in out
    assert f"{tmp_path / 'cache'}, 0 B" in out
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_jax_that_does_not_start(cli, monkeypatch):
    def broken():
        raise RunError("JAX can't start: no libtpu")

    monkeypatch.setattr("lra_bench.efficiency.supervise.describe", broken)
    status, out, _ = cli("doctor")
    assert status == 1
    assert "WRONG devices      JAX can't start: no libtpu; run python -c" in out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(cli, host, tmp_path):
    tmp_path.chmod(0o500)
    status, out, _ = cli("doctor", "--data-dir", tmp_path / "data")
    tmp_path.chmod(0o700)
    assert status == 1
    assert "you may not write there; choose another with --data-dir" in out


def test_little_room_is_a_note(cli, host, monkeypatch):
    from shutil import _ntuple_diskusage

    usage = _ntuple_diskusage(2**40, 2**40, 2**20)
    monkeypatch.setattr("lra_bench.cli.doctor.shutil.disk_usage", lambda _: usage)
    monkeypatch.setattr("lra_bench.runtime.memory.available", lambda: 2**20)
    status, out, _ = cli("doctor")
    assert status == 0
    assert out.count("1 MiB free: little; choose another disk") == 2
    assert "1 MiB of it free: little" in out
