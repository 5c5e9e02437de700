"""Two runs in one folder at once: one of them refuses, and neither spoils anything."""

import pytest
from common import PATIENCE
from runs import arguments, assert_equal_runs, has_lines, start, wait_until

pytestmark = pytest.mark.ci


def test_at_the_same_moment(environment, undisturbed, tmp_path):
    processes = [start(environment, arguments(tmp_path / "run", "linear")) for _ in range(2)]
    ends = [(*process.communicate(timeout=PATIENCE), process.returncode) for process in processes]
    won = [said for said, _, status in ends if status == 0]
    lost = [errors for _, errors, status in ends if status == 2]
    assert (len(won), len(lost)) == (1, 1), ends
    for errors in lost:
        assert len(errors.splitlines()) == 1
        # One that comes too late for the lock sees a run there, finished or not.
        assert "another process" in errors or "holds a" in errors
    assert_equal_runs(tmp_path / "run", undisturbed("linear"))


@pytest.mark.slow
def test_one_that_comes_later(environment, undisturbed, tmp_path):
    command = arguments(tmp_path / "run", "linear", **{"train.num_steps": 90})
    first = start(environment, command)
    assert wait_until(first, lambda: has_lines(tmp_path / "run", 1))
    second = start(environment, [*command, "--resume"])
    assert "another process is running in" in second.communicate(timeout=PATIENCE)[1]
    assert second.returncode == 2
    assert first.wait(PATIENCE) == 0
    first.communicate()
    assert_equal_runs(tmp_path / "run", undisturbed("linear", **{"train.num_steps": 90}))


@pytest.mark.slow
def test_a_lock_of_a_process_that_is_gone(environment, undisturbed, tmp_path):
    """The lock goes with the process, whatever became of it."""
    first = start(environment, arguments(tmp_path / "run", "linear"))
    assert wait_until(first, lambda: has_lines(tmp_path / "run", 1))
    first.kill()
    second = start(environment, [*arguments(tmp_path / "run", "linear"), "--resume"])
    printed, err = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, printed + err
    first.communicate()
    assert_equal_runs(tmp_path / "run", undisturbed("linear"))
