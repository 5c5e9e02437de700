"""What every executor promises: on this machine, on a Ray cluster and by Slurm jobs."""

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest
from common import PATIENCE

from lra_bench.sweep.executor import Launch, Needs
from lra_bench.sweep.local_executor import LocalExecutor, Slot

# Ray's nodes are started by forks; after those nothing of JAX is called.
pytestmark = [
    pytest.mark.ci,
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
]
TWO_AT_A_TIME = 2


def make_local(out):
    return LocalExecutor([Slot((), {})] * TWO_AT_A_TIME, {}, watch_memory=False)


def make_ray(out):
    pytest.importorskip("ray")
    from lra_bench.sweep.ray_executor import RayExecutor

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")
        patch.setenv("HOME", str(out))
        return RayExecutor(Needs(), TWO_AT_A_TIME, {}, out)


def make_slurm(out):
    pytest.importorskip("submitit")
    from lra_bench.sweep.slurm_executor import SlurmExecutor

    return SlurmExecutor(Needs(), TWO_AT_A_TIME, {}, out, [("cluster", "local")])


@pytest.fixture(scope="module", params=[make_local, make_ray, make_slurm])
def executor(request, tmp_path_factory):
    """An executor for two runs at a time. A Ray cluster takes seconds to start: one for all."""
    made = request.param(tmp_path_factory.mktemp("sweep"))
    yield made
    made.close()


@pytest.fixture
def attempt(tmp_path):
    """Describe an attempt; its arguments are those of `lra-bench run`."""

    def describe(name, *arguments, time_limit=float(PATIENCE)):
        log = tmp_path / "logs" / f"{name}.log"
        return Launch(name, arguments, tmp_path / name, log, time_limit, memory=None)

    return describe


@pytest.fixture
def hanging(attempt):
    """Describe an attempt that waits for ever, because this process holds the lock of its run."""
    files = []

    def describe(name, **changes):
        launch = attempt(name, **changes)
        launch.folder.mkdir()
        files.append((launch.folder / ".lock").open("w"))
        fcntl.flock(files[-1], fcntl.LOCK_EX)
        return launch

    yield describe
    for file in files:
        file.close()


def endings(executor, count=1):
    """How so many attempts end, by their names."""
    found, until = {}, time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < until
        found |= {launch.name: ending for launch, ending in executor.ended()}
    return found


def waiting_for(launch):
    """The processes that have opened the lock of a run, other than this one."""
    lock, found = str(launch.folder / ".lock"), []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            opened = [str(fd.readlink()) for fd in (place / "fd").iterdir()]
        except OSError:
            continue
        if lock in opened and int(place.name) != os.getpid():
            found.append(int(place.name))
    return found


def begun(executor, *launches):
    """Wait until attempts that hang have begun; return their processes."""
    until = time.monotonic() + PATIENCE
    while not all(found := [waiting_for(launch) for launch in launches]):
        assert time.monotonic() < until
        assert executor.ended() == []
    return [pids[0] for pids in found]


def test_attempts_end_with_their_status_and_their_last_line(executor, attempt):
    assert executor.capacity == TWO_AT_A_TIME
    assert "at a time" in executor.describe()
    good, bad = attempt("good", "--help"), attempt("bad", "--preset", "nonsense")
    for launch in (good, bad):
        assert executor.has_room(launch)
        executor.start(launch)
    assert not executor.has_room(attempt("third"))
    found = endings(executor, 2)
    assert (found["good"].returncode, found["bad"].returncode) == (0, 2)
    assert "unknown preset of listops 'nonsense'" in found["bad"].message
    assert "usage: lra-bench run" in good.log.read_text()
    assert all(ending.seconds > 0 for ending in found.values())
    assert executor.has_room(good)


def test_one_that_hangs_is_ended_at_its_time_limit_and_one_that_is_killed_is_not_hidden(
    executor, hanging
):
    hangs, dies = hanging("hangs", time_limit=1.0), hanging("dies")
    for launch in (hangs, dies):
        executor.start(launch)
    until = time.monotonic() + PATIENCE
    found = {}
    while not (pids := waiting_for(dies)):
        assert time.monotonic() < until
        found |= {launch.name: ending for launch, ending in executor.ended()}
    os.kill(pids[0], signal.SIGKILL)
    found |= endings(executor, 2 - len(found))
    assert (found["hangs"].timed_out, found["hangs"].interrupted) == (True, False)
    assert (found["dies"].timed_out, found["dies"].returncode) == (False, -signal.SIGKILL)


def test_those_that_are_asked_to_stop_have_stopped(executor, hanging):
    launches = hanging("one"), hanging("two")
    for launch in launches:
        executor.start(launch)
    begun(executor, *launches)
    executor.stop()
    for ending in endings(executor, 2).values():
        assert ending.returncode == -signal.SIGTERM
        assert not ending.timed_out


def test_none_outlives_the_executor(executor, hanging):
    launch = hanging("last")
    executor.start(launch)
    begun(executor, launch)
    executor.close()
    until = time.monotonic() + PATIENCE
    while waiting_for(launch):
        assert time.monotonic() < until
        time.sleep(0.1)
