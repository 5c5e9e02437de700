"""GPUs that are not here: what a description must have, and what a program gets of the memory."""

import importlib.metadata
import importlib.util

import pytest

from lra_bench.efficiency import gpus, records, targets
from lra_bench.errors import UsageError

HAS_COMPILER = importlib.util.find_spec("jax_cuda12_plugin") is not None
compiler = pytest.mark.skipif(not HAS_COMPILER, reason="needs lra-bench[cuda12]")
GIB = 2**30


@pytest.fixture
def own(tmp_path):
    """Return a function that writes a description with one text in place of another."""

    def write(old, new):
        path = tmp_path / "mine.txt"
        path.write_text(gpus.description("h100").replace(old, new))
        return str(path)

    return write


def test_every_gpu_has_a_complete_description():
    assert {path.stem for path in gpus.SPECS.glob("*.txt")} == set(gpus.NAMES)
    for name in gpus.NAMES:
        text = gpus.description(name)
        assert text.startswith("# ")  # the source of the figures
        assert all(field in text for field in gpus._NEEDED)
        assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("target", "gigabytes"),
    [("v100-16gb", 16), ("t4", 16), ("l4", 24), ("a100-40gb", 40), ("a100-80gb", 80),
     ("h100", 80), ("h200", 141), ("b200", 180)],
)  # fmt: skip
def test_programs_get_three_quarters_of_the_memory(target, gigabytes, monkeypatch):
    for name in ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    limit = targets.memory_limit(target, None)
    assert limit / 0.75 == pytest.approx(gigabytes * 1e9, rel=0.08)
    assert targets.memory_limit(target, GIB) == GIB
    assert targets.memory_limit(target, 1000 * GIB) == limit
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", ".9")
    assert targets.memory_limit(target, None) == pytest.approx(1.2 * limit)


def test_other_targets_have_no_limit_of_their_own():
    assert targets.memory_limit("tpu-v5e", None) is None
    assert targets.memory_limit("estimate", GIB) == GIB


@pytest.mark.parametrize("share", ["0", "1.5", "most", "nan"])
def test_a_wrong_share_is_named(share, monkeypatch):
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", share)
    with pytest.raises(UsageError, match=f"XLA_CLIENT_MEM_FRACTION={share}"):
        targets.memory_limit("h100", None)


@pytest.mark.parametrize(
    ("target", "nearest"),
    [("h10", "'h100'"), ("a100", "'a100-40gb' or 'a100-80gb'"), ("V100", "'v100-16gb'"),
     ("tpu-v5", "'tpu-v5e' or 'tpu-v5p'")],
)  # fmt: skip
def test_an_unknown_target_costs_one_line(target, nearest, cli):
    status, _, err = cli("efficiency", "--target", target)
    assert (status, err.count("\n")) == (2, 1)
    assert f"did you mean {nearest}" in err
    assert "valid: here, estimate, tpu-v2" in err


def test_a_file_that_cannot_be_read(cli, tmp_path):
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe")
    for path, words in ((tmp_path / "none.txt", "No such file"), (tmp_path, "Is a directory"),
                        (tmp_path / "picture.txt", "not a text file")):  # fmt: skip
        status, _, err = cli("efficiency", "--target", str(path))
        assert (status, err.count("\n")) == (2, 1)
        assert words in err


@pytest.mark.skipif(HAS_COMPILER, reason="it is there")
def test_without_the_compiler_one_line_says_so(cli):
    status, _, err = cli("efficiency", "--target", "h100")
    assert (status, err.count("\n")) == (2, 1)
    assert "pip install 'lra-bench[cuda12]'" in err


def test_a_compiler_of_another_version(monkeypatch):
    versions = {"jaxlib": "0.10.2", "jax-cuda12-pjrt": "0.9.0"}

    def version(package):
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(gpus, "_is_installed", lambda module: True)
    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(UsageError, match=r"jax-cuda12-pjrt 0\.9\.0 does not fit jaxlib 0\.10\.2"):
        targets.check("h100")
    versions["jax-cuda12-pjrt"] = "0.10.2"
    targets.check("h100")


def test_a_line_of_xla_becomes_line_and_reason():
    said = 'E1 Error parsing text-format stream_executor.X: 9:13: has no field named "core_cuont".'
    assert gpus.reason(f"other\n{said}\n") == 'line 9, column 13: has no field named "core_cuont"'
    assert gpus.reason("other\n") is None


def test_a_file_of_ones_own_is_named_with_its_checksum(own):
    path = own("core_count: 132", "core_count: 114")
    first = targets.label(path)
    assert first.startswith("mine.txt (")
    own("core_count: 132", "core_count: 100")
    assert targets.label(path) != first
    assert targets.label("h100") == "h100"


@compiler
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("core_count", "core_cuont", 'line 7, column 13: Message type "stream_executor.GpuDev'),
        ("52428800", "lots", "line 5, column 18: Expected integer, got: lots"),
        ("threads_per_warp: 32", "", "the description lacks threads_per_warp"),
        ("device_memory_size: 84942979072", "device_memory_size: 0", "is no number of bytes"),
        ("major: 9", "major: 99", "the compiler installed here fails"),
    ],
)
def test_what_is_wrong_with_a_description_costs_one_line(old, new, words, cli, own):
    status, _, err = cli("efficiency", "--target", own(old, new), "--lengths", "64")
    assert (status, err.count("\n")) == (2, 1)
    assert words in err


@compiler
def test_a_gpu_that_is_not_there(cli, tmp_path, own):
    args = ("--attentions", "softmax", "--pass", "forward", "--out", tmp_path)
    status, out, _ = cli("efficiency", *args, "--lengths", "1024,65536", "--target", "v100-16gb")
    assert status == 0
    assert "v100-16gb, compiled for and not run: kernels launched by a call" in out
    lines = [x for x in records.read(tmp_path / records.FILE) if x.cell.attention == "softmax"]
    fits, ends = sorted(lines, key=lambda line: line.cell.length)
    assert (fits.status, ends.status) == ("ok", "out_of_memory")
    assert fits.kernels > 2
    assert fits.environment.device_kind == "Tesla V100-SXM2-16GB"
    assert ends.bytes_asked > 12 * GIB > ends.cell.memory_limit
    shared = ("--lengths", "64", "--devices", "2", "--batch", "2", "--target", own("#", "#"))
    assert cli("efficiency", *args, *shared)[0] == 0
    status, _, err = cli("efficiency", "--target", "h100", "--devices", "9", "--batch", "9")
    assert status == 2
    assert "--devices 9: a host of h100 has 8" in err
