"""Sequences shared by several devices."""

import json
import subprocess
import sys

import pytest
from common import HELPERS, QUICK

from lra_bench.config import make_settings
from lra_bench.errors import UsageError
from lra_bench.runtime.devices import choose_devices

# By how many exchanges queries learn of all keys: sums, and where features have exponents their
# largest before.
EXCHANGES = {"performer-relu": 1, "linear": 2, "performer-softmax": 2, "favor-plus-plus": 2}


@pytest.fixture(scope="module")
def found(environment):
    script = HELPERS / "sequences_cut.py"
    flags = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=8"}
    result = subprocess.run(
        [sys.executable, script, *EXCHANGES],
        env={**environment, **flags},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exchanges"), EXCHANGES.items())
def test_each_device_sums_over_its_own_tokens(found, name, exchanges):
    assert found[name]["difference"] < 1e-5
    assert found[name]["all_reduces"] == exchanges


def test_devices_that_cant_share_are_refused():
    settings = make_settings("listops", "linear", "smoke", 0, ["train.sequence_devices=3"])
    with pytest.raises(UsageError, match=r"train.sequence_devices=3 does not divide 1"):
        choose_devices(settings.train)
