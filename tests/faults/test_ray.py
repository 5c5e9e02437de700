"""A sweep on a Ray cluster of two nodes on one machine, one of which is lost."""

import os
import signal
import time
from pathlib import Path

import pytest
from common import PATIENCE, read_record

from lra_bench.records import record
from lra_bench.sweep.executor import Launch

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from lra_bench.sweep import ray_executor as of_ray  # noqa: E402

# Ray's nodes are started by forks; after those nothing of JAX is called.
pytestmark = [
    pytest.mark.ci,
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
]

LONG = ("--set", "train.num_steps=400", "--set", "train.eval_every=40")


@pytest.fixture(scope="module")
def cluster():
    """A head that takes a run too: each further node costs seconds to start."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield found
    found.shutdown()


@pytest.fixture
def sweep(cluster, spawn, tmp_path):
    """Start a sweep of two runs on the cluster."""

    def start(*words):
        call = ("sweep", "--preset", "smoke", "--tasks", "listops", "--attentions", "identity")
        call += ("--seeds", "0,1", "--executor", "ray", "--out", tmp_path, *words)
        return spawn(*call, env={"RAY_ADDRESS": cluster.address})

    return start


def wait_for(condition, process, seconds=PATIENCE):
    """What the condition gives once it isn't false."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def workers(run):
    """Ray's processes that carry out this run now."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"ray::" + run.encode()):
            found.append(int(place.name))
    return found


def training(folder):
    """Whether a run is between its first checkpoint and its end."""
    return any((folder / "checkpoints").glob("[0-9]*/checksums.json"))


def statuses(folder):
    return [read_record(path)["status"] for path in sorted(folder.glob("*/record.json"))]


def test_a_worker_and_a_node_are_lost(cluster, sweep, tmp_path):
    node = cluster.add_node(num_cpus=1)
    process = sweep(*LONG)
    run = "listops-identity-seed0"
    wait_for(lambda: training(tmp_path / run), process)
    os.kill(wait_for(lambda: workers(run), process)[0], signal.SIGKILL)
    wait_for(lambda: "killed" in (tmp_path / "sweep.jsonl").read_text(), process)
    cluster.remove_node(node, allow_graceful=False)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert f"{run}: killed" in out
    assert "to be tried again" in out
    assert "going on from step" in (tmp_path / "logs" / f"{run}.log").read_text()
    assert statuses(tmp_path) == ["ok", "ok"]


def test_a_run_that_no_node_can_do_is_refused_at_once(sweep):
    process = sweep("--cpus", "64", "--tpus", "4")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "no node of the Ray cluster has 64 CPU, 4 TPU for a run; there are:" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder_sends_back_what_is_small(data_dir, tmp_path):
    words = ("--preset", "smoke", "--attention", "identity", "--data-dir", str(data_dir))
    run, log = tmp_path / "sweep/one", tmp_path / "sweep/logs/one.log"
    launch = Launch("one", words, run, log, time_limit=300, memory=None)
    delivery = of_ray.carry_out(launch, {}, str(tmp_path / "token"), "word")
    assert delivery.ending.returncode == 0, delivery.log
    assert not run.exists()
    of_ray.unpack(launch, delivery)
    assert sorted(path.name for path in run.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "record.json",
    ]
    assert read_record(run / record.FILE)["status"] == "ok"
    assert "test accuracy" in log.read_text()
