"""A plug-in of pytest: tests that passed before are left out, so that a second call goes on.

    PASSED=FILE pytest -p resumed

FILE gets a line "passed TEST" or "failed TEST" as soon as a test is done.
"""

import os
from pathlib import Path

FILE = Path(os.environ["PASSED"])


def pytest_collection_modifyitems(config, items):
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    passed = {line.removeprefix("passed ") for line in lines if line.startswith("passed ")}
    # Those that failed are tried again.
    FILE.write_text("".join(f"passed {name}\n" for name in sorted(passed)))
    done = [item for item in items if item.nodeid in passed]
    config.hook.pytest_deselected(items=done)
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_runtest_logreport(report):
    if report.when == "call" or report.failed:
        with FILE.open("a") as file:
            file.write(f"{'failed' if report.failed else 'passed'} {report.nodeid}\n")
