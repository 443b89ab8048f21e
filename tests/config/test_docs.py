"""The docs keep their word: commands exist with their options, links lead somewhere, every alert has its page."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from graphs.cli import app
from tools import docs as reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"`(penstock [^`]+)`|^(?:\S+=\S+ )*(penstock .+)$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for code, line in COMMAND.findall(page.read_text(encoding="utf-8")):
            yield page.name, (code or line).split("  ")[0].split(" #")[0].split(" > ")[0].strip()


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_every_command_in_the_docs_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    here = typer.main.get_command(app)
    while words and isinstance(here, typer.core.TyperGroup):
        assert words[0] in here.commands, f"{page}: {line}"
        here = here.commands[words.pop(0)]
    known = {option for parameter in here.params for option in parameter.opts}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{page}: {line}"


def test_there_are_commands_to_look_at() -> None:
    assert len(set(commands())) > 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_alert_has_its_page() -> None:
    rules = yaml.safe_load((ROOT / "configs" / "observability" / "alerts.yaml").read_text(encoding="utf-8"))
    alerts = {rule["alert"].lower() for group in rules["groups"] for rule in group["rules"]}
    assert alerts == anchors(ROOT / "docs" / "operate" / "alerts.md") - {"alerts"}


def test_the_reference_is_what_the_code_says() -> None:
    stale = [name for name, make in reference.PAGES.items() if written(name) != make()]
    assert not stale, "run python -m tools.docs"


def written(name: str) -> str:
    file = reference.FOLDER / f"{name}.md"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Glossary" in (tmp_path / "concepts" / "glossary" / "index.html").read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
