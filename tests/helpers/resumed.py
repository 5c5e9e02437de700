"""A plug-in of pytest: tests that passed before are left out, so that a second call goes on.

    PASSED=FILE pytest -p resumed

FILE gets a line "passed TEST" or "failed TEST" as soon as a test is done. With pytest-xdist only
the process that hands out the tests writes it.
"""

import os
from pathlib import Path

FILE = Path(os.environ["PASSED"])
WRITES = "PYTEST_XDIST_WORKER" not in os.environ


def pytest_configure():
    if WRITES:  # tests that failed are tried again
        FILE.write_text("".join(f"passed {test}\n" for test in passed()))


def passed():
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    return [line.removeprefix("passed ") for line in lines if line.startswith("passed ")]


def pytest_collection_modifyitems(config, items):
    before = set(passed())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in before])
    items[:] = [item for item in items if item.nodeid not in before]


def pytest_runtest_logreport(report):
    if WRITES and (report.when == "call" or report.failed):
        with FILE.open("a") as file:
            file.write(f"{'failed' if report.failed else 'passed'} {report.nodeid}\n")
