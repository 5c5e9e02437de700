"""The schedule of a sweep: which attempts are repeated, and which are the last."""

import pytest

from lra_bench.display.progress import Display
from lra_bench.errors import RunError, UsageError
from lra_bench.runtime.stopping import StopRequest
from lra_bench.sweep import plan, schedule
from lra_bench.sweep.executor import Ending
from lra_bench.sweep.history import Attempts, History
from lra_bench.sweep.run_state import run_state
from lra_bench.sweep.schedule import judge
from lra_bench.sweep.view import View

pytestmark = pytest.mark.ci


def test_an_interruption_is_no_failure_and_no_retry(tmp_path):
    ending = Ending(1, 5.0, timed_out=True, interrupted=True)
    verdict = judge(tmp_path, ending, stopping=False)
    assert (verdict.outcome, verdict.error, verdict.may_retry) == ("interrupted", None, True)
    assert judge(tmp_path, ending, stopping=True).outcome == "stopped"


class Interrupting:
    """An executor whose attempts are interrupted five times, and then fail."""

    def __init__(self):
        self.started = []

    def has_room(self, launch):
        return True

    def start(self, launch):
        self.started.append(launch)

    def ended(self):
        last = self.started[-1]
        return [(last, Ending(1, 1.0, interrupted=len(self.started) <= 5, message="why"))]


def test_a_run_may_be_interrupted_more_often_than_it_may_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule.failure_record, "write_failure", lambda *_: None)
    choice = plan.Choice(("listops",), ("identity",), (0,), "smoke")
    (job,) = plan.jobs(choice)
    executor, history = Interrupting(), History(tmp_path)
    states = {job.name: run_state(tmp_path / job.name, Attempts())}
    view = View(Display(), tmp_path, [job], states, {}, 1)
    runs = schedule.Schedule(history, executor, view, tmp_path, {}, schedule.Patience(retries=1))
    runs.run([job], StopRequest())
    assert (len(executor.started), runs.failed) == (7, [job.name])
    assert history.attempts()[job.name].ended == 2


class Failing(Interrupting):
    """An executor whose attempts fail at once."""

    def ended(self):
        ended, self.started = self.started, []
        return [(launch, Ending(-9, 1.0, timed_out=True)) for launch in ended]


@pytest.mark.parametrize("error", [UsageError, RunError, OSError])
def test_a_record_that_cannot_be_written_ends_no_sweep(tmp_path, monkeypatch, capsys, error):
    def refuse(*_):
        raise error("another process is running there")

    monkeypatch.setattr(schedule.failure_record, "write_failure", refuse)
    jobs = plan.jobs(plan.Choice(("listops",), ("identity", "linear"), (0,), "smoke"))
    states = {job.name: run_state(tmp_path / job.name, Attempts()) for job in jobs}
    view = View(Display(), tmp_path, jobs, states, {}, 1)
    patience = schedule.Patience(retries=0)
    runs = schedule.Schedule(History(tmp_path), Failing(), view, tmp_path, {}, patience)
    runs.run(jobs, StopRequest())
    assert runs.failed == [job.name for job in jobs]
    said = capsys.readouterr().out
    assert f"{jobs[0].name}: no record of the failure: another process is running there" in said


class Slow(Interrupting):
    """An executor whose attempts reach their time limit, after a further step each but the last."""

    steps = 4

    def ended(self):
        return [(self.started[-1], Ending(-15, 3600.0, timed_out=True))]

    def step(self, folder):
        return min(len(self.started), self.steps)


@pytest.mark.parametrize(("time_limit", "attempts"), [(None, 6), (3600.0, 2)])
def test_a_run_that_gets_further_is_slow_and_not_hung(tmp_path, monkeypatch, time_limit, attempts):
    """Without a limit that a user set; four attempts get further here, then none does."""
    monkeypatch.setattr(schedule.failure_record, "write_failure", lambda *_: None)
    executor = Slow()
    monkeypatch.setattr(schedule, "last_step", executor.step)
    (job,) = plan.jobs(plan.Choice(("listops",), ("identity",), (0,), "smoke"))
    states = {job.name: run_state(tmp_path / job.name, Attempts())}
    view = View(Display(), tmp_path, [job], states, {}, 1)
    patience = schedule.Patience(retries=1, time_limit=time_limit)
    runs = schedule.Schedule(History(tmp_path), executor, view, tmp_path, {}, patience)
    runs.run([job], StopRequest())
    assert (len(executor.started), runs.failed) == (attempts, [job.name])
