"""Where the records in `results/` come from; what is shown of them is `test_docs`'s matter."""

from common import read_record

from lra_bench.efficiency import records as efficiency_records
from lra_bench.leaderboard.submission import check, rows
from lra_bench.records import record
from lra_bench.records.find import collect


def test_records_are_of_clean_checkouts(repository):
    for path in (repository / "results").rglob(record.FILE):
        environment = read_record(path)["environment"]
        assert environment["git_commit"]
        assert not environment["git_commit"].endswith("-dirty"), path


def test_records_tell_which_test_examples_are_right(repository):
    results = repository / "results"
    tests = {
        path.parent.relative_to(results).as_posix(): read_record(path)["test"]
        for path in results.rglob(record.FILE)
    }
    # Where tokens are predicted, "counts" has the right ones of each example.
    assert [
        name for name, test in tests.items() if test and not test.keys() & {"correct", "counts"}
    ] == []


def test_submitted_rows_may_stand(repository):
    """As CONTRIBUTING tells; test_submission.py breaks each rule."""
    found = [path.parent for path in (repository / "results/submitted").rglob(record.FILE)]
    rules = (
        [finding for row in rows(collect(found)).values() for finding in check(row)]
        if found
        else []
    )
    assert [fault for finding in rules for fault in finding.faults] == []


# Their lines name a commit with "-dirty"; docs/efficiency.md, "On an H100", tells why.
TOLD = {"h100"}


def test_efficiency_was_measured_in_clean_checkouts(repository):
    names = {path.name for path in (repository / "results/efficiency").iterdir() if path.is_dir()}
    assert names > TOLD
    for name in sorted(names - TOLD):
        for line in efficiency_records.collect([repository / "results/efficiency" / name]):
            if line.environment is not None:  # null where a shorter length decided
                commit = line.environment.git_commit
                assert commit, name
                assert not commit.endswith("-dirty"), (name, line.cell)
