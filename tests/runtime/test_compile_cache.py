"""Broken entries of JAX's cache on disk are made again, silently."""

import os
import subprocess
import sys
import threading

import pytest

from lra_bench.runtime import compile_cache

# Compile a program, break its entry in each way, and compile it again.
CODE = """
import sys, pathlib, jax
from lra_bench.runtime.compile_cache import mended
folder, f = pathlib.Path(sys.argv[1]), lambda x: (x @ x).sum()
def entry():
    (path,) = folder.glob("jit__lambda*-cache")
    return path
def compile():
    jax.clear_caches()
    return float(jax.jit(f)(jax.numpy.ones((3, 3))))
compile()
whole = entry().read_bytes()
for broken in (whole[: len(whole) // 2], whole[:-1], b"", b"no entry at all",
               whole[:200] + b"damage" + whole[206:]):
    entry().write_bytes(broken)
    with mended():
        value, again = compile(), entry().read_bytes()
        print(value, again != broken, len(again) > len(whole) // 2)
entry().write_bytes(broken)
compile()
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    own = {"JAX_COMPILATION_CACHE_DIR": str(folder), "PYTHONWARNINGS": "default",
           "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # fmt: skip
    command = [sys.executable, "-c", CODE, str(folder)]
    return subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=True)


def test_programs_run_and_their_entries_are_written_again(done):
    assert done.stdout.splitlines() == ["27.0 True True"] * 5


def test_nothing_is_said_about_it(done):
    """Only the last compilation, outside the block, shows JAX's own warning."""
    assert done.stderr.count("Error reading persistent compilation cache entry") == 1


def test_a_thread_does_not_count_the_programs_of_another():
    before = compile_cache.programs_read()
    reader = threading.Thread(target=compile_cache._note, args=(compile_cache._HIT,))
    reader.start()
    reader.join()
    assert compile_cache.programs_read() == before
    compile_cache._note(compile_cache._HIT)
    assert compile_cache.programs_read() == before + 1
