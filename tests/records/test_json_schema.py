"""The published JSON Schemas say what the readers accept; `export` writes what they describe."""

import copy
import json

import pandas as pd
import pytest
from common import ROOT, refused

from lra_bench.cli.json_schema import NAMES, schema
from lra_bench.efficiency import records
from lra_bench.efficiency.records import parse as parse_line
from lra_bench.files.json_files import read_json, without_checksum
from lra_bench.files.json_lines import read_lines
from lra_bench.records.record import LACKING, REQUIRED, SCHEMA, parse

jsonschema = pytest.importorskip("jsonschema", reason="comes with ray, of the extra [test]")
RECORD = without_checksum(read_json(ROOT / "results/mini-cpu/listops-linear-seed0/record.json"))
LINES = ROOT / "results/efficiency/cpu-attention"
# One of each kind that anybody may write.
PROBES = [None, True, "x", -1, 0, 1, 3, 0.5, 1.5, -0.5, 1e200, 2**70, [], {}, {"accuracy": 2}]


def accepts(name, value):
    return jsonschema.Draft202012Validator(schema(name)).is_valid(value)


def reads(parser, value):
    try:
        parser(copy.deepcopy(value))
    except ValueError:
        return False
    return True


def line():
    (path, *_) = records.find([LINES])
    return without_crc(read_lines(path)[0][0])


def without_crc(value):
    return {key: x for key, x in value.items() if key != "crc32"}


@pytest.mark.parametrize("name", NAMES)
def test_the_published_schema_is_this_one(name):
    """Stale? lra-bench export --schema NAME > docs/schemas/NAME.schema.json"""
    published = json.loads((ROOT / f"docs/schemas/{name}.schema.json").read_text())
    assert published == schema(name)
    jsonschema.Draft202012Validator.check_schema(published)


def test_every_record_here_is_valid():
    paths = sorted((ROOT / "results").rglob("record.json"))
    validator = jsonschema.Draft202012Validator(schema("record"))
    assert paths
    for path in paths:
        validator.validate(json.loads(path.read_text()))


def test_every_line_here_is_valid():
    validator = jsonschema.Draft202012Validator(schema("efficiency"))
    for path in records.find([ROOT / "results"]):
        for value in read_lines(path)[0]:
            validator.validate(value)


@pytest.mark.parametrize("key", REQUIRED)
def test_it_refuses_what_the_reader_refuses(key):
    """Each probe in place of each part that a reader relies on, and the part left out."""
    for probe in PROBES:
        value = {**RECORD, key: probe}
        assert accepts("record", value) == reads(parse, value), probe
    lacking = {name: x for name, x in RECORD.items() if name != key}
    assert accepts("record", lacking) == reads(parse, lacking) == (key in LACKING)


@pytest.mark.parametrize("group", ["data", "model", "train", "attention_options"])
def test_the_same_for_groups_of_the_config(group):
    config = {name: x for name, x in RECORD["config"].items() if name != group}
    for changed in (config, {**config, group: 3}, {**config, group: {"a": 1e200}}):
        value = {**RECORD, "config": changed}
        assert accepts("record", value) == reads(parse, value)


def test_old_records_are_valid():
    old = {name: x for name, x in RECORD.items() if name not in LACKING}
    assert accepts("record", {**old, "schema": SCHEMA})
    assert not accepts("record", {**old, "schema": SCHEMA + 1})


@pytest.mark.parametrize(
    "key", ["schema", "cell", "machine", "round", "status", "inferred_from", "timing", "memory"]
)
def test_lines_of_efficiency_are_refused_alike(key):
    for probe in PROBES:
        value = {**line(), key: probe}
        assert accepts("efficiency", value) == reads(parse_line, value), probe
    lacking = {name: x for name, x in line().items() if name != key}
    assert accepts("efficiency", lacking) == reads(parse_line, lacking)


@pytest.mark.ci
@pytest.mark.parametrize("key", ["attention", "preset", "length", "layers", "config"])
def test_cells_of_lines_are_refused_alike(key):
    for probe in PROBES:
        value = {**line(), "cell": {**line()["cell"], key: probe}}
        assert accepts("efficiency", value) == reads(parse_line, value), probe


@pytest.mark.parametrize("style", ["parquet", "csv"])
def test_records_are_exported(cli, tmp_path, style):
    if style == "parquet":
        pytest.importorskip("pyarrow", reason="needs lra-bench[parquet]")
    out = tmp_path / f"records.{style}"
    status, said, err = cli("export", ROOT / "results/mini-cpu", "--out", out)
    assert (status, err) == (0, "")
    table = pd.read_parquet(out) if style == "parquet" else pd.read_csv(out)
    paths = list((ROOT / "results/mini-cpu").rglob("record.json"))
    assert said == f"{len(paths)} rows of {len(table.columns)} columns in {out}\n"
    assert len(table) == len(paths)
    row = table.query("task == 'listops' and attention == 'linear' and seed == 0").iloc[0]
    assert row["test.accuracy"] == RECORD["test"]["accuracy"]
    assert row["config.train.num_steps"] == RECORD["config"]["train"]["num_steps"]
    assert json.loads(row["config.data"]).items() >= RECORD["config"]["data"].items()
    assert not [name for name in table.columns if name.endswith((".correct", ".counts"))]


def test_lines_are_exported(cli, tmp_path):
    out = tmp_path / "lines.csv"
    assert cli("export", LINES, "--out", out)[0] == 0
    table = pd.read_csv(out)
    assert len(table) == len(records.collect([LINES]))
    assert table["timing.cpu.median"].notna().any()


def test_export_refuses_in_one_line(cli, tmp_path, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *x: None if name == "pyarrow" else found(name, *x)
    )
    words = ("export", ROOT / "results/mini-cpu")
    refused(cli(*words, "--format", "parquet"), 2, "pip install 'lra-bench[parquet]'")
    refused(cli(*words), 2, "name --format parquet or csv")
    refused(cli(*words, "--out", tmp_path / "x.json"), 2, "must end in .parquet or .csv")
    refused(cli("export"), 2, "name a folder of records")
    refused(cli("export", tmp_path, "--format", "csv"), 2, "no records in")
    refused(cli(*words, "--schema", "record"), 2, "leave out DIR, --format and --kind")


def test_runs_are_not_exported_as_efficiency(cli, tmp_path):
    words = ("export", ROOT / "results/mini-cpu", "--kind", "efficiency")
    refused(cli(*words, "--out", tmp_path / "x.csv"), 2, "no efficiency records in")


def test_a_schema_goes_to_a_file(cli, tmp_path):
    file = tmp_path / "schema.json"
    status, printed, _ = cli("export", "--schema", "record")
    assert cli("export", "--schema", "record", "--out", file) == (0, f"{file}\n", "")
    assert (status, file.read_text()) == (0, printed)


@pytest.mark.parametrize("style", ["parquet", "csv"])
@pytest.mark.parametrize(("group", "power"), [("model", 30), ("init_from", 400)])
def test_whole_numbers_of_any_size_are_exported(cli, tmp_path, style, group, power):
    if style == "parquet":
        pytest.importorskip("pyarrow", reason="needs lra-bench[parquet]")
    value = {**copy.deepcopy(RECORD), "attention": "größe"}
    value["config"][group] = {**(value["config"].get(group) or {}), "step": 10**power}
    value.pop("checksum", None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/record.json").write_text(json.dumps(value))
    out = tmp_path / f"records.{style}"
    status, _, err = cli("export", tmp_path / "run", "--out", out)
    assert (status, err) == (0, "")
    table = pd.read_parquet(out) if style == "parquet" else pd.read_csv(out, dtype=str)
    assert table[f"config.{group}.step"].tolist() == [str(10**power)]
    assert table["attention"].tolist() == ["größe"]


@pytest.mark.parametrize("end", ["parquet", "csv"])
def test_a_folder_that_is_not_there_is_named(cli, tmp_path, end):
    if end == "parquet":
        pytest.importorskip("pyarrow", reason="needs lra-bench[parquet]")
    out = tmp_path / f"away/records.{end}"
    refused(cli("export", ROOT / "results/mini-cpu", "--out", out), 2, str(out), "no such")
