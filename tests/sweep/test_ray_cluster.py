"""How the sweep gets a Ray cluster, with a pretended Ray: a local one asks for a secret token."""

import stat
import sys
import types

import pytest

from lra_bench.errors import UsageError
from lra_bench.sweep import ray_executor

pytestmark = pytest.mark.ci


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def ray(monkeypatch, home):
    """A Ray that notes the addresses it is asked for, and knows of no running cluster."""
    asked = []

    def init(address, **options):
        asked.append(address)
        if address == "auto":
            raise ConnectionError("Could not find any running Ray instance.")

    module = types.SimpleNamespace(init=init, asked=asked, __version__="2.60.0")
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def token(home):
    return home / ".ray" / "auth_token"


def test_a_local_cluster_has_a_token_that_only_this_user_can_read(ray, home):
    ray_executor._connect()
    assert ray.asked == ["auto", "local"]
    assert len(token(home).read_text()) == 64
    assert stat.S_IMODE(token(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(token(home).parent.stat().st_mode) == 0o700


def test_a_token_that_is_there_is_kept_and_closed(ray, home):
    token(home).parent.mkdir()
    token(home).write_text("mine")
    token(home).chmod(0o644)
    ray_executor._connect()
    assert token(home).read_text() == "mine"
    assert stat.S_IMODE(token(home).stat().st_mode) == 0o600


def test_no_file_is_written_where_a_variable_holds_the_token(ray, home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    ray_executor._connect()
    assert not token(home).exists()


@pytest.mark.parametrize("mode", ["disabled", "DISABLED", "k8s"])
def test_a_local_cluster_without_tokens_is_refused(ray, monkeypatch, mode):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(UsageError, match=f"RAY_AUTH_MODE={mode}: .* unset it, or start"):
        ray_executor._connect()
    assert ray.asked == ["auto"]


def test_a_cluster_that_is_named_is_connected_to_and_none_is_started(ray, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # its own affair
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    ray_executor._connect()
    assert ray.asked == ["10.0.0.1:6379"]


def test_a_ray_without_tokens_is_refused(ray):
    ray.__version__ = "2.51.1"
    with pytest.raises(UsageError, match=r"Ray 2\.51\.1 .* pip install -U 'lra-bench\[ray\]'"):
        ray_executor._connect()
    assert ray.asked == []
