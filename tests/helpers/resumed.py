"""A plug-in of pytest: tests that passed before are left out, so that a second call goes on.

    PASSED=FILE pytest -p resumed

FILE gets a line "passed TEST" or "failed TEST" as soon as a test is done.
"""

import os
from pathlib import Path

FILE = Path(os.environ["PASSED"])


def pytest_collection_modifyitems(config, items):
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    kept = [line for line in lines if line.startswith("passed ")]
    FILE.write_text("".join(f"{line}\n" for line in kept))  # those that failed are tried again
    passed = {line.removeprefix("passed ") for line in kept}
    done = [item for item in items if item.nodeid in passed]
    config.hook.pytest_deselected(items=done)
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_runtest_logreport(report):
    if report.when == "call" or report.failed:
        with FILE.open("a") as file:
            file.write(f"{'failed' if report.failed else 'passed'} {report.nodeid}\n")
