"""Folders that no other user can reach: programs in them are run."""

import os
import stat

import pytest

from lra_bench.errors import RunError
from lra_bench.files.private import private_folder
from lra_bench.sweep import local_executor, ray_executor
from lra_bench.sweep.executor import COMPILED, Launch
from lra_bench.sweep.shared_programs import share_programs


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_this_user_alone(tmp_path):
    path = private_folder(tmp_path / "a" / "b")
    assert mode(path) == 0o700
    (path / "entry").write_text("kept")
    assert (private_folder(path) / "entry").read_text() == "kept"


def test_one_that_others_could_only_read_is_closed(tmp_path):
    (tmp_path / "old").mkdir(mode=0o755)
    (tmp_path / "old" / "entry").write_text("kept")
    private_folder(tmp_path / "old")
    assert mode(tmp_path / "old") == 0o700
    assert (tmp_path / "old" / "entry").exists()


@pytest.mark.parametrize("others", [0o770, 0o777, 0o1777])
def test_one_that_others_could_write_to_is_emptied(tmp_path, others):
    path, elsewhere = tmp_path / "open", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("not ours to remove")
    (path / "folder").mkdir(parents=True)
    (path / "folder" / "poison").write_text("")
    (path / "link").symlink_to(elsewhere)
    path.chmod(others)
    private_folder(path)
    assert list(path.iterdir()) == []
    assert mode(path) == 0o700
    assert (elsewhere / "file").exists()


def test_a_link_or_a_file_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(RunError, match="is not a folder of this user; remove it"):
            private_folder(tmp_path / name)


def test_that_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir(mode=0o700)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(RunError, match="is not a folder of this user"):
        private_folder(tmp_path / "theirs")


class TestRayWorkers:
    @pytest.fixture
    def launch(self, tmp_path, monkeypatch):
        monkeypatch.delenv(COMPILED, raising=False)
        return Launch("a", (), tmp_path / "out/a", tmp_path / "out/logs/a.log", 9.0, None)

    def test_compiled_programs_are_below_the_sweep_in_a_folder_of_the_machine(
        self, launch, tmp_path
    ):
        variables = share_programs(tmp_path / "out/.compiled", launch)
        assert variables == {COMPILED: str(tmp_path / "out/.compiled" / os.uname().nodename)}
        assert mode(tmp_path / "out/.compiled") == 0o700

    def test_a_folder_of_others_is_not_used_and_the_log_says_so(self, launch, tmp_path):
        (tmp_path / "theirs").symlink_to(tmp_path)
        variables = share_programs(tmp_path / "theirs", launch)
        assert variables == {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        assert "is not a folder of this user; remove it" in launch.log.read_text()

    def test_without_a_folder_of_its_own_a_local_sweep_goes_on(self, launch, tmp_path, monkeypatch):
        """As on file systems without permissions."""
        started = []
        monkeypatch.setattr(local_executor, "Process", lambda *args: started.append(args[2]))
        (tmp_path / "theirs").symlink_to(tmp_path)
        for folder in ("ours", "theirs"):
            environment = {COMPILED: str(tmp_path / folder)}
            slots = [local_executor.Slot((), {})]
            executor = local_executor.LocalExecutor(slots, environment, watch_memory=False)
            executor.start(launch)
        assert "JAX_ENABLE_COMPILATION_CACHE" not in started[0]
        assert started[1]["JAX_ENABLE_COMPILATION_CACHE"] == "false"

    def test_what_killed_workers_left_is_removed_and_what_others_use_is_not(self, tmp_path):
        root = tmp_path / "workers"
        with ray_executor._work_folder(root) as used:
            left = root / "left"
            left.mkdir()
            (left / ".lock").touch()
            with ray_executor._work_folder(root) as work:
                assert sorted(root.glob("*/.lock")) == sorted((used / ".lock", work / ".lock"))
                assert mode(work) == 0o700
        assert sorted(path.name for path in root.iterdir()) == [".lock"]
