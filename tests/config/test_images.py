"""The image and what stands beside it: everything that a step needs reaches the build, and no door is left open.

`python -m tools.image` runs the steps themselves; here they are only read.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.image import FILE, Stage, reaches, steps

ROOT = Path(__file__).parents[2]
STEPS = list(steps(FILE.read_text(encoding="utf-8")))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "configs/docker/compose.yaml").read_text(encoding="utf-8"))


def said(name: str) -> list[str]:
    return [argument for step, argument in STEPS if step == name]


def test_every_file_that_is_copied_exists_and_reaches_the_build() -> None:
    sources = [word for line in said("COPY") if not line.startswith("--from") for word in line.split()[:-1]]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert reaches(source), f".dockerignore keeps {source} out"
    assert not reaches("tests")
    assert not reaches(".git")


def test_the_image_is_not_roots_and_says_whether_it_is_well() -> None:
    assert ["10001"] == said("USER")
    names = [name for name, _ in STEPS]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
    assert "/readyz" in said("HEALTHCHECK")[0]
    assert "token" == dict(word.partition("=")[::2] for word in shlex.split(said("ENV")[-1]))["RAY_AUTH_MODE"]


def test_the_config_in_the_image_is_the_local_one_without_a_key_and_open_to_the_container() -> None:
    (line,) = [step for step in said("RUN") if "config example" in step]
    edits = line[line.index("sed") : line.index(">")]
    text = (ROOT / "configs" / "local.yaml").read_text(encoding="utf-8")

    out = subprocess.run(["/bin/sh", "-c", edits], input=text, capture_output=True, text=True, check=True).stdout
    told = yaml.safe_load(out)
    assert ("0.0.0.0", False) == (
        told["http_options"]["host"],
        told["applications"][0]["args"]["state"]["development_key"],
    )


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_a_service_is_pinned_and_published_on_loopback_alone(service: str) -> None:
    about = COMPOSE["services"][service]
    _, _, tag = about["image"].partition(":")
    assert tag not in ("", "latest")
    for port in about.get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_no_secret_has_a_default() -> None:
    values = [str(value) for one in COMPOSE["services"].values() for value in one.get("environment", {}).values()]
    secrets = [value for value in values if "${" in value and "@" not in value]
    assert len(secrets) == 4
    assert all(":?" in value for value in secrets)


def test_the_files_that_compose_mounts_are_there() -> None:
    files = [one["file"] for one in COMPOSE["configs"].values() if "file" in one]
    assert files
    for file in files:
        assert (ROOT / "configs" / "docker" / file).exists(), file


def test_steps_are_read_with_their_continued_lines_and_without_comments() -> None:
    text = "# a note\nFROM x AS y\nRUN a && \\\n    # within\n    b\n\nUSER 5\n"
    assert [("FROM", "x AS y"), ("RUN", "a &&      b"), ("USER", "5")] == list(steps(text))


def test_a_copied_folder_keeps_its_files_and_leaves_compiled_ones(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "__pycache__").mkdir(parents=True)
    (source / "a.py").write_text("x")
    stage = Stage(tmp_path / "root", folder="/src")
    stage.copy([source], "app")
    stage.copy([source / "a.py"], "./")
    assert ["a.py"] == [one.name for one in (tmp_path / "root/src/app").iterdir()]
    assert (tmp_path / "root/src/a.py").read_text() == "x"
