"""What the repository shows was made by its own commands from the records in `results/`."""

import pytest

from lra_bench import record
from lra_bench.efficiency import records as efficiency_records
from lra_bench.efficiency.tables import render as render_efficiency
from lra_bench.leaderboard import collect, render
from lra_bench.leaderboard.submission import check, rows


@pytest.fixture(scope="module")
def mini(repository):
    return collect([repository / "results/mini-cpu"])


def test_the_table_is_generated(repository, mini):
    """Stale? lra-bench table results/mini-cpu > results/mini-cpu.md"""
    found = (repository / "results/mini-cpu.md").read_text()
    assert found == render(mini, "markdown", with_published=False)


def test_the_readme_shows_that_table(repository, mini):
    table = render(mini, "markdown", with_published=False)
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert "\n".join(rows) in (repository / "README.md").read_text()


def test_records_are_of_clean_checkouts(repository, mini):
    for path in (repository / "results").rglob(record.FILE):
        environment = record.read(path)["environment"]
        assert environment["git_commit"]
        assert not environment["git_commit"].endswith("-dirty"), path


def test_submitted_rows_may_stand(repository):
    """As CONTRIBUTING tells; test_submission.py breaks each rule."""
    found = [path.parent for path in (repository / "results/submitted").rglob(record.FILE)]
    rules = (
        [finding for row in rows(collect(found)).values() for finding in check(row)]
        if found
        else []
    )
    assert [fault for finding in rules for fault in finding.faults] == []


EFFICIENCY = ("cpu-attention", "tpu-v5e-paper")


@pytest.mark.parametrize("name", EFFICIENCY)
def test_the_tables_of_efficiency_are_generated(repository, name):
    """Stale? lra-bench table results/efficiency/NAME > results/efficiency/NAME.md"""
    folder = repository / "results/efficiency"
    found = (folder / f"{name}.md").read_text()
    lines = efficiency_records.collect([folder / name])
    assert found == render_efficiency(lines, "markdown", with_published=False)


def test_the_readme_shows_tables_of_efficiency(repository):
    """Every table of the README has its rows in one that was generated."""
    generated = "".join(path.read_text() for path in (repository / "results").rglob("*.md"))
    rows = [x for x in (repository / "README.md").read_text().splitlines() if x.startswith("|")]
    assert rows
    assert [row for row in rows if row not in generated] == []


@pytest.mark.parametrize("name", EFFICIENCY)
def test_efficiency_was_measured_in_clean_checkouts(repository, name):
    for line in efficiency_records.collect([repository / "results/efficiency" / name]):
        if line["environment"] is not None:  # null where a shorter length decided
            commit = line["environment"]["git_commit"]
            assert commit
            assert not commit.endswith("-dirty")
