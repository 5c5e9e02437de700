"""Records of any content: every reader names what it leaves out, and shows the rest harmlessly.

LRA_BENCH_TRIES=N tries so often; LRA_BENCH_SEED=N repeats the tries of an earlier time.
"""

import json
import os
import random

import efficiency_cases
import pytest
import report_cases
from common import unsealed
from hostile import (
    CHECKS,
    check_html,
    check_messages,
    damaged,
    dumped,
    mutated,
    no_hang,
    swapped,
)

from lra_bench.efficiency import records
from lra_bench.files.json_lines import json_line
from lra_bench.records import metrics, record
from lra_bench.report import approximation, build, inputs, leaderboard, mechanisms, provenance

pytestmark = pytest.mark.ci

SEED = int(os.environ.get("LRA_BENCH_SEED", 20_260_101))
FEW, MANY = 40, int(os.environ.get("LRA_BENCH_TRIES", 1_000))
TRIES = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
SUMMARY = """\
scale,variant,num_features,mse,sd,draws
1.0,"positive, iid",16,0.5,0.1,3
1.0,"positive, iid",32,0.25,0.1,3
1.0,"trigonometric, iid",16,0.75,0.1,3
"""
CLAIMS = """\
scale,claim,features_of_worse,holds,standard_errors,geometric_ratio
1.0,iid: positive < trigonometric,16,True,4.0,1.5
"""
FORMATS = list(CHECKS)


def fill(folder):
    """Good records of all kinds."""
    for number, attention in enumerate(("softmax", "linear", "performer-softmax")):
        for seed in (0, 1):
            values = report_cases.run(attention=attention, seed=seed, accuracy=0.4 + 0.1 * number)
            lines = report_cases.lines(0.4)
            report_cases.write(folder / f"{attention}-{seed}", values, lines)
    made = [
        efficiency_cases.line(name, length, 1e-3 * length)
        for name in ("softmax", "linear", "identity")
        for length in (512, 1_024, 2_048)
    ]
    (folder / records.FILE).write_text("".join(map(json_line, made)))
    (folder / approximation.FILE).write_text(SUMMARY)
    (folder / approximation.CLAIMS).write_text(CLAIMS)
    (folder / approximation.SETUP).write_text(json.dumps({"length": 64, "dim": 8}))


class Fuzzed:
    """A folder whose files are changed, one or two at a time, and restored."""

    def __init__(self, folder):
        fill(folder)
        self.folder = folder
        self.files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def change(self, chance, names):
        """Change a file of these names; return it."""
        path = chance.choice([path for path in self.files if path.name in names])
        content, kind = self.files[path], chance.randrange(10)
        if kind == 0:
            swapped(path, chance)
        elif kind < 4:
            path.write_bytes(damaged(content, chance))
        else:
            path.write_bytes(self._mutated(path, chance))
        return path

    def _mutated(self, path, chance):
        if path.suffix == ".json":
            return dumped(mutated(unsealed(path), chance))
        if path.suffix == ".csv":
            lines = path.read_text().splitlines()
            number = chance.randrange(len(lines))
            cells = lines[number].split(",")
            cells[chance.randrange(len(cells))] = chance.choice(CELLS)
            lines[number] = ",".join(cells)
            return "\n".join(lines).encode("utf-8", "surrogatepass")
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        number = chance.randrange(len(lines))
        lines[number].pop("crc32", None)
        lines[number] = mutated(lines[number], chance)
        return b"\n".join(map(dumped, lines)) + b"\n"

    def restore(self):
        for path, content in self.files.items():
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
            path.write_bytes(content)


CELLS = ["", "nan", "inf", "-1", "1e999", "9" * 400, "x", "<script>", '"', "True", "1e-320", "$x^{",
         "\0", "0", "\ud800", "1e300", "_x", "1j"]  # fmt: skip


@pytest.fixture
def fuzzed(tmp_path):
    return Fuzzed(tmp_path / "records")


def each(fuzzed, tries, names):
    """Change a file of these names so often; yield the number of the try."""
    for number in range(tries):
        chance = random.Random(f"{SEED} {names} {number}")
        path = fuzzed.change(chance, names)
        try:
            with no_hang():
                yield number, chance
        except BaseException:
            print("seed", SEED, "try", number, "of", path)
            raise
        fuzzed.restore()


def tables(cli, fuzzed, tries, name, options):
    """Make a table at each try and check what it prints; yield its status and its messages."""
    for number, chance in each(fuzzed, tries, (name,)):
        style = FORMATS[number % len(FORMATS)]
        status, out, err = cli("table", fuzzed.folder, "--format", style, *options(chance))
        check_messages(err)
        CHECKS[style](out)
        yield status, err


@pytest.mark.parametrize("tries", TRIES)
def test_table(cli, fuzzed, tries):
    def options(chance):
        return ["--strict", *["--published"] * chance.randrange(2)]

    for status, err in tables(cli, fuzzed, tries, record.FILE, options):
        assert status == (1 if err else 0)


@pytest.mark.parametrize("tries", TRIES)
def test_table_of_efficiency(cli, fuzzed, tries):
    options = ["--kind", "efficiency", "--strict"]
    for status, err in tables(cli, fuzzed, tries, records.FILE, lambda _: options):
        assert status == (2 if "no efficiency records" in err else 1 if err else 0)


@pytest.mark.parametrize("tries", TRIES)
def test_compare(cli, fuzzed, tries):
    options = ["--compare", "softmax", "linear"]
    for status, _ in tables(cli, fuzzed, tries, record.FILE, lambda _: options):
        assert status in (0, 2)


@pytest.mark.parametrize("tries", TRIES)
def test_submit_check(cli, fuzzed, tries):
    for _ in each(fuzzed, tries, (record.FILE,)):
        status, out, err = cli("submit-check", fuzzed.folder, "--all")
        assert status == 1
        check_messages(err)
        check_messages("\n".join(f"lra-bench: {line}" for line in out.splitlines()))


@pytest.mark.parametrize("tries", TRIES)
def test_report_without_figures(fuzzed, capsys, tries):
    """The parts of the page that take no time to draw."""
    from lra_bench.records.find import naming
    from lra_bench.scaling import groups, rows

    names = (record.FILE, records.FILE, metrics.FILE, approximation.FILE, approximation.CLAIMS,
             approximation.SETUP)  # fmt: skip
    for _ in each(fuzzed, tries, names):
        with naming():
            read = inputs.gather([fuzzed.folder])
            tables = read.tables
            parts = [
                leaderboard.section(tables, with_published=True),
                mechanisms.section(build._attentions(read), tables),
                provenance.section(read),
                *(approximation._errors(study.summary, 1.0) for study in read.studies),
                *(part.title for part in groups.groups(rows.from_lines(read.lines))),
            ]
            for run_table in tables:
                for result in run_table.results:
                    build.curves.curve(result)
        check_html("".join(parts[:3]))
        check_messages(capsys.readouterr().err)


@pytest.mark.parametrize(
    "tries", [pytest.param(1), pytest.param(max(MANY // 25, 1), marks=pytest.mark.slow)]
)
def test_report(cli, fuzzed, tmp_path, tries):
    names = (record.FILE, records.FILE, metrics.FILE, approximation.FILE, approximation.CLAIMS,
             approximation.SETUP)  # fmt: skip
    for _ in each(fuzzed, tries, names):
        out = tmp_path / "page"
        status, _, err = cli("report", fuzzed.folder, "--out", out, "--strict")
        assert status == (1 if err else 0)
        check_messages(err)
        check_html((out / build.FILE).read_text())
