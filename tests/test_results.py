"""What the repository shows was made by its own commands from the records in `results/`."""

import pytest

from lra_bench import record
from lra_bench.leaderboard import collect, render


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
