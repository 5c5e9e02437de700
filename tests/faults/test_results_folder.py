"""A folder of results in which some can't be read: each is named and left out, the rest shown."""

import json
import os
import subprocess
import sys

import pytest
from common import unsealed
from junk import with_junk

from lra_bench.errors import RunError
from lra_bench.leaderboard.tables import render
from lra_bench.records import record

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def good(undisturbed):
    return unsealed(undisturbed() / record.FILE)


def write(folder, name, content):
    (folder / name).mkdir()
    (folder / name / record.FILE).write_bytes(content)


@pytest.fixture
def results(tmp_path, good):
    """One good run, and one of each fault; the folders' names say which."""
    text = json.dumps(good).encode()
    write(tmp_path, "good", text)
    write(tmp_path, "truncated", text[: len(text) // 2])
    write(tmp_path, "empty", b"")
    write(tmp_path, "binary", bytes(range(256)) * 9)
    write(tmp_path, "deep", b"[" * 200_000)
    write(tmp_path, "list", b"[1, 2]")
    write(tmp_path, "schema", json.dumps({**good, "schema": 2}).encode())
    write(tmp_path, "incomplete", json.dumps({"schema": 1, "status": "ok"}).encode())
    (tmp_path / "folder" / record.FILE).mkdir(parents=True)
    for name, target in (("circle", record.FILE), ("dangling", "nowhere")):
        (tmp_path / name).mkdir()
        (tmp_path / name / record.FILE).symlink_to(target)
    (tmp_path / "good/again").symlink_to(tmp_path)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / record.FILE)
    write(tmp_path, "twin", text)
    return tmp_path


def broken(results):
    return sorted(x.name for x in results.iterdir() if x.name not in ("good", "twin"))


def test_a_table_of_the_rest(cli, results):
    status, out, err = cli("table", results)
    assert status == 0
    assert "performer-softmax" in out
    said = err.splitlines()
    for name in broken(results):
        (line,) = [line for line in said if f"/{name}/{record.FILE}" in line]
        assert line.startswith(f"lra-bench: left out: {results}/{name}/{record.FILE}: ")
    (twin,) = [line for line in said if "/twin/" in line]
    file = f"{results}/twin/{record.FILE}"
    assert twin.startswith(f"lra-bench: left out: {file}: a second record of performer-softmax")
    assert twin.endswith(" on listops, seed 0")
    assert len(said) == len(broken(results)) + 1


def test_a_report_of_the_rest(cli, results, tmp_path):
    names = broken(results)
    status, _, err = cli("report", results, "--out", tmp_path / "page")
    assert status == 0
    assert "Traceback" not in err
    for name in names:
        assert f"/{name}/{record.FILE}: " in err


def test_none_is_left(cli, results):
    for name in ("good", "twin"):
        (results / name / record.FILE).unlink()
    status, out, err = cli("table", results)
    assert status == 2
    assert out == ""
    assert f"no records in {results}" in err.splitlines()[-1]


# Root may read everything, but for one whose capabilities were taken away.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def test_what_is_closed_to_us(tmp_path, environment, good):
    text = json.dumps(good).encode()
    for name in ("good", "record", "folder"):
        write(tmp_path, name, text)
    places = tmp_path / "folder", tmp_path / "record" / record.FILE
    for place in places:
        place.chmod(0)
    powerless = () if os.getuid() else POWERLESS
    if powerless and subprocess.run([*POWERLESS, "true"], capture_output=True).returncode:
        pytest.skip("root can't do without its capabilities here")
    command = [*powerless, sys.executable, "-m", "lra_bench", "table", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    for place in places:
        place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "performer-softmax" in done.stdout
    said = done.stderr.splitlines()
    assert len(said) == len(places)
    for place in places:
        (line,) = [line for line in said if str(place) in line]
        assert line.startswith("lra-bench: left out: ")
        assert "permission denied" in line


@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_junk_in_any_place_of_a_record(tmp_path, good, half):
    """Either it is said what is wrong with the record, or the tables can be made from it.

    Each place gets every second kind of junk.
    """
    file, shown, refused = tmp_path / record.FILE, 0, 0
    for changed in with_junk(good, half):
        file.write_text(json.dumps(changed))
        try:
            found = record.read(file)
        except RunError:
            refused += 1
            continue
        shown += 1
        render([found], ("markdown", "csv")[shown % 2], with_published=True)
    assert shown > 100
    assert refused > 100
