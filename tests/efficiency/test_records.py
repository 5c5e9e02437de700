"""Lines of efficiency.jsonl: what is read, what is written, what is left out."""

import json

import pytest
from efficiency_cases import line, visit

from lra_bench.efficiency import records
from lra_bench.scaling.rows import from_lines
from lra_bench.settings import completed

HUGE = 10**400


def test_a_line_comes_back_as_it_was(repository):
    """Old lines lack `round`, which becomes null, and settings that were added later."""
    paths = records.find([repository / "results"])
    lines = [json.loads(text) for path in paths for text in path.read_text().splitlines()]
    assert lines
    for old in lines:
        old.pop("crc32", None)
        old["cell"]["config"] = completed(old["cell"]["config"])
        head = {key: old[key] for key in ("schema", "cell", "machine")}
        whole = {**head, "round": None, **old}
        assert json.dumps(records.parse(old).as_dict()) == json.dumps(whole)


def test_samples_come_back():
    made = visit(2, [1.0, 2.0])
    back = records.parse(json.loads(json.dumps(made)))
    assert (back.round, back.timing.samples.cpu) == (2, (1.0, 2.0))
    assert back.timing.as_dict()["samples"] == {"wall": (0.5, 1.0), "cpu": (1.0, 2.0)}
    assert records.parse(back.as_dict() | {"timing": made["timing"]}) == back


def test_a_time_limit_comes_back_where_it_was_not_enough():
    made = line(status="timed_out", time_limit=900.0)
    assert records.parse(made).as_dict()["time_limit"] == 900.0
    assert records.parse(made | {"time_limit": "long"}).time_limit is None
    assert "time_limit" not in records.parse(line()).as_dict()


def test_an_estimate_comes_back_and_is_no_measured_time():
    given = {"seconds": 0.5, "cycles": 7, "without": 2, "hertz": 14.0}
    made = line(seconds=None, estimate=given)
    back = records.parse(made)
    assert back.as_dict()["estimate"] == given
    assert back.timing is None
    assert "estimate" not in records.parse(line()).as_dict()


@pytest.mark.parametrize("broken", [{"seconds": 0}, {"seconds": -1.0}, {"seconds": "fast"}, 5, []])
def test_a_broken_estimate_is_none(broken):
    read = records.parse(line(seconds=None, estimate=broken)).estimate
    assert read is None or read.seconds is None


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("memory", "predicted_bytes", HUGE),
        ("memory", "measured_bytes", "many"),
        ("cell", "length", 0),
        ("cell", "target", None),
        ("timing", "wall", {"median": HUGE, "q1": 1.0, "q3": 1.0}),
        ("timing", "samples", {"wall": [1.0]}),
    ],
)
def test_what_readers_rely_on_must_be_valid(group, key, value):
    made = line()
    made[group] = {**made[group], key: value}
    with pytest.raises(ValueError, match=group):
        records.parse(made)


def test_other_parts_are_left_out():
    made = line(flops=HUGE, error=7, xla_bytes="many", environment=[], parameters=-1)
    made["timing"]["repeats"] = "seven"
    made["cell"] = {**made["cell"], "config": {"model": 5}}
    read = records.parse(made)
    parts = (read.flops, read.error, read.xla_bytes, read.environment, read.parameters)
    assert parts == (None,) * 5
    assert read.timing.repeats is None
    # Settings that old lines lack.
    assert read.cell.config == {"attention_options": {}, **completed({"model": {}, "train": {}})}


@pytest.mark.parametrize("newer", ["a", "b"])
def test_of_several_files_that_count_which_were_written_last(tmp_path, newer):
    for name in "ab":
        (tmp_path / name).mkdir()
        seconds, month = (0.01, 11) if name == newer else (0.03, 1)
        made = line(seconds=seconds, finished=f"2026-{month:02}-01T00:00:00+00:00")
        (tmp_path / name / records.FILE).write_text(json.dumps(made) + "\n")
    for folders in ([tmp_path / "a", tmp_path / "b"], [tmp_path / "b", tmp_path / "a"], [tmp_path]):
        (row,) = from_lines(records.collect(folders))
        assert row.cpu.median == 0.01
