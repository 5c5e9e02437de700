"""The files of the project agree: version, licence, checks, and templates that parse."""

import re
import tomllib

import pytest
import yaml
from common import ROOT

import lra_bench

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
YAML = [".pre-commit-config.yaml", "CITATION.cff", *map(str, ROOT.glob(".github/**/*.yml"))]


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", YAML)
def test_yaml_parses(name):
    assert isinstance(read(name), dict)


def test_all_files_name_the_same_version():
    readme = re.search(
        r"@software\{.*?version\s*=\s*\{(.+?)\}", (ROOT / "README.md").read_text(), re.S
    )
    released = re.findall(r"^## \[(\d.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    citation = read("CITATION.cff")
    versions = (lra_bench.__version__, citation["version"], readme[1], released[0][0])
    assert versions == (PROJECT["version"],) * 4
    assert released[0][1] == citation["date-released"]


def test_the_licence_is_apache():
    assert PROJECT["license"] == read("CITATION.cff")["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def test_pre_commit_does_the_checks_of_ci():
    ci = (ROOT / ".ci/run").read_text().splitlines()
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    for hook in repository["hooks"]:
        assert hook["entry"] in ci


def test_the_workflow_calls_ci_on_the_declared_pythons():
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    declared = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if ":: 3." in name]
    assert job["strategy"]["matrix"]["python"] == declared
