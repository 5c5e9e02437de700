"""Registries: decorators, names, duplicates, plug-ins of other packages."""

import os
import subprocess
import sys
import textwrap
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from common import PATIENCE, SMOKE
from started import popen

from lra_bench.config import make_settings
from lra_bench.contracts import AttentionTraits
from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS, TASKS, Registry


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setitem(sys.modules, "empty_package", types.ModuleType("empty_package"))
    sys.modules["empty_package"].__path__ = []
    return Registry("attention", "empty_package")


def mechanism(module):
    def attend(q, k, v, mask):
        """Says what it is.

        And more.
        """

    attend.__module__ = module
    return attend


def test_all_are_there():
    assert ATTENTIONS.names() == [
        "abc", "aft-simple", "bigbird", "cosformer", "efficient", "favor-plus-plus",
        "favor-sharp", "fnet", "gated-deltanet", "h-transformer", "hedgehog", "identity",
        "linear", "linformer", "lion", "local", "long-conv", "longformer", "luna", "mega",
        "nystromformer", "performer-generalized", "performer-relu", "performer-softmax",
        "reformer", "rfa", "routing", "s4d", "s5", "sinkhorn", "skyformer", "softmax",
        "softmax-chunked", "softmax-fused", "sparse", "synthesizer",
    ]  # fmt: skip
    assert TASKS.names() == [
        "image", "image-lm", "listops", "mqar", "pathfinder", "pathx", "protein",
        "protein-concat", "recall", "retrieval", "span", "text", "text-lm",
    ]  # fmt: skip


def test_every_entry_says_what_it_is():
    for name in ATTENTIONS.names():
        assert len(ATTENTIONS.get(name).summary) > 20


def test_a_duplicate_names_both_modules(registry):
    registry.add("mine", mechanism("one.module"), AttentionTraits())
    with pytest.raises(ValueError, match=r"'mine' .* twice: by one\.module and by other\.module"):
        registry.add("mine", mechanism("other.module"), AttentionTraits())


def test_the_same_module_may_be_loaded_again(registry):
    registry.add("mine", mechanism("one.module"), AttentionTraits())
    registry.add("mine", mechanism("one.module"), AttentionTraits())
    assert registry.names() == ["mine"]


@pytest.mark.parametrize("name", ["", "My-Name", "with space", "under_score", "-x"])
def test_malformed_names_are_refused(registry, name):
    with pytest.raises(ValueError, match="lower-case words joined by hyphens"):
        registry.add(name, mechanism("one"), AttentionTraits())


def test_an_unknown_name_lists_all_and_suggests_the_nearest():
    with pytest.raises(UsageError) as error:
        ATTENTIONS.get("performer-sofmax")
    message = str(error.value)
    assert "did you mean 'performer-softmax'?" in message
    assert all(name in message for name in ATTENTIONS.names())


def test_options_are_the_keyword_parameters_with_their_defaults():
    reformer = {"bucket_size": 64, "num_hashes": 2, "causal": False, "fresh_rotations": False}
    assert ATTENTIONS.get("reformer").options() == reformer
    assert ATTENTIONS.get("identity").options() == {}


def test_an_option_outside_its_choices_is_refused():
    with pytest.raises(
        UsageError, match=r"attention\.estimator='positiv': did you mean 'positive'"
    ):
        make_settings("listops", "performer-softmax", "mini", 0, ["attention.estimator=positiv"])


def test_causal_is_an_option_of_those_that_can():
    assert ATTENTIONS.get("softmax").supports_causal
    assert not ATTENTIONS.get("linformer").supports_causal
    with pytest.raises(UsageError, match="linformer can't be causal"):
        make_settings("listops", "linformer", "mini", 0, ["attention.causal=true"])


PLUGIN = '''
"""A third party's mechanism."""
from lra_bench.registry import register_attention


@register_attention("mean-of-values", equivariant=True)
def mean_of_values(q, k, v, mask):
    """The mean of the real values."""
    weights = mask / mask.sum(axis=1, keepdims=True).clip(1)
    return (v * weights[:, :, None, None].astype(v.dtype)).sum(1, keepdims=True) + 0 * v
'''
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny-plugin"
version = "0"
[project.entry-points."lra_bench.attentions"]
mean-of-values = "tiny_plugin"
[project.entry-points."lra_bench.tasks"]
broken = "no_such_module"
[tool.setuptools]
py-modules = ["tiny_plugin"]
"""


@pytest.fixture(scope="module")
def installed_plugin(tmp_path_factory):
    """A package with an entry point, installed by pip into a folder of its own."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "tiny_plugin.py").write_text(textwrap.dedent(PLUGIN))
    (source / "pyproject.toml").write_text(PYPROJECT)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


_LIST_AND_RUN = """
import sys
from lra_bench.cli import main
assert main(["list"]) == 0
print("listed", flush=True)
sys.exit(main([*sys.argv[2:], "--out", sys.argv[1]]))
"""


@pytest.mark.ci
def test_an_installed_package_adds_its_mechanism(installed_plugin, environment, tmp_path):
    """It is listed and runs, and of its plug-ins a broken one is left out with a word."""
    paths = [str(installed_plugin), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**environment, "PYTHONPATH": os.pathsep.join(paths).rstrip(os.pathsep)}
    run = (*SMOKE, "--attention", "mean-of-values", "--set", "train.eval_every=24")
    command = [sys.executable, "-c", _LIST_AND_RUN, str(tmp_path / "out"), *run]
    process = popen(command, env=env)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    listed, ran = out.split("listed\n")
    assert "mean-of-values" in listed
    assert "test accuracy" in ran
    assert "plug-in 'broken' left out: ModuleNotFoundError" in err


def test_threads_that_look_up_at_once_see_every_entry(tmp_path, monkeypatch):
    """The second waits until the first has imported all: it never sees half of the names."""
    package = tmp_path / "slow_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    module = (
        "import time, test_target\ntime.sleep(0.3)\ntest_target.registry.add({0!r}, {1}, None)\n"
    )
    for name, target in (("one", "test_target.first"), ("two", "test_target.second")):
        (package / f"{name}.py").write_text(module.format(name, target))
    registry = Registry("attention", "slow_package")
    targets = {"registry": registry, "first": mechanism("a"), "second": mechanism("b")}
    monkeypatch.setitem(sys.modules, "test_target", types.SimpleNamespace(**targets))
    monkeypatch.syspath_prepend(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: registry.names(), range(4)))
    assert found == [["one", "two"]] * 4
