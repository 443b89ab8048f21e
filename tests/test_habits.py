"""What a release must agree on: its version, its changelog, and that CI runs what the README names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_the_changelogs_newest_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] == versions[0]
    assert sorted(versions, key=lambda v: [*map(int, v.split("."))], reverse=True) == versions


def test_ci_runs_the_readmes_commands_and_allows_no_skip() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert ["make lint", "make test"] == re.findall(r"^make .*$", script, re.MULTILINE)
    assert "export PENSTOCK_NO_SKIPS=1" in script
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["run"]["steps"]
    assert ".ci/run" == steps[-1]["run"]


@pytest.mark.parametrize("file", sorted(ROOT.glob(".github/**/*.yml")), ids=lambda file: file.name)
def test_every_form_is_yaml_that_says_something(file: Path) -> None:
    assert yaml.safe_load(file.read_text())


def test_every_link_of_the_documents_leads_somewhere() -> None:
    missing = [
        (document.name, link)
        for document in ROOT.glob("*.md")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
        if not (document.parent / link).exists()
    ]
    assert [] == missing
