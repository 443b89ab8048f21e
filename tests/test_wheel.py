"""The wheel, installed outside the checkout: its commands, config and weights need nothing of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.models.catalog import CATALOG

ROOT = Path(__file__).parents[1]
SOURCES = ("app", "deployments", "graphs", "configs", "pyproject.toml", "README.md", "LICENSE")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
WEIGHTS = """
import pathlib, sys, app
from app.models import catalog
folders = [catalog.checked(name) for name, model in catalog.CATALOG.items() if model.package == "app"]
print(pathlib.Path(app.__file__).parents[1])
print(*folders, sep="\\n")
"""


@dataclass(frozen=True)
class Installed:
    """site: where the wheel lies. empty: a folder without anything, in which its commands run."""

    site: Path
    empty: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of the installation's, which sees its packages before those of this checkout."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.site),
            "PENSTOCK_STATE": str(self.site.parent / "state"),
            "PENSTOCK_CACHE": str(self.site.parent / "cache"),
        }
        return subprocess.run(
            command, cwd=self.empty, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def penstock(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.site / "bin/penstock"), *words)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    source, site, empty = folder / "source", folder / "site", folder / "empty"
    empty.mkdir()
    source.mkdir()
    for name in SOURCES:  # a copy, so that building leaves nothing in the checkout
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name, **({"symlinks": True} if copy is shutil.copytree else {}))  # type: ignore[operator]
    wheel = (*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    subprocess.run(wheel, check=True, timeout=240)
    (built,) = folder.glob("*.whl")
    subprocess.run((*PIP, "install", "--no-deps", "--target", str(site), str(built)), check=True, timeout=240)
    return Installed(site, empty)


def test_the_command_says_what_it_can(installed: Installed) -> None:
    done = installed.penstock("--help")
    assert 0 == done.returncode, done.stderr
    assert "serve" in done.stdout


def test_without_a_file_the_packaged_config_is_checked_and_drawn(installed: Installed) -> None:
    checked, drawn = installed.penstock("config", "check"), installed.penstock("graph")
    assert (0, 0) == (checked.returncode, drawn.returncode), checked.stderr + drawn.stderr
    said = "".join(checked.stdout.split())
    assert said.startswith(f"{installed.site}/app/config/examples/local.yaml:good.")
    assert ["admit", "settle"] == re.findall(r"admit|settle", drawn.stdout)


def test_without_a_file_serve_takes_the_packaged_config(installed: Installed) -> None:
    """It gets as far as the ports, of which one is taken: nothing is started here."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = installed.penstock("serve", "--dashboard-port", str(taken.getsockname()[1]))
    assert 1 == done.returncode
    assert "is taken: stop what listens there" in " ".join(done.stderr.split())


def test_a_file_of_ones_own_goes_before_the_packaged_one(installed: Installed) -> None:
    own = installed.empty / "serve_config.yaml"
    own.write_text("applications: []\n")
    try:
        done = installed.penstock("config", "check")
    finally:
        own.unlink()
    assert 2 == done.returncode
    assert "serve_config.yaml" in done.stderr
    assert "local.yaml" not in done.stderr


def test_a_missing_file_that_was_named_is_a_fault(installed: Installed) -> None:
    done = installed.penstock("config", "check", "serve_config.yaml")
    assert 2 == done.returncode
    assert "serve_config.yaml: No such file" in done.stderr


@pytest.mark.parametrize("file", sorted(ROOT.glob("configs/*.yaml")), ids=lambda file: file.stem)
def test_every_config_is_printed_to_start_from(installed: Installed, file: Path) -> None:
    done = installed.penstock("config", "example", file.stem)
    assert file.read_text() == done.stdout


def test_an_example_that_does_not_exist_is_refused_with_those_that_do(installed: Installed) -> None:
    done = installed.penstock("config", "example", "tpu")
    assert 2 == done.returncode
    assert "no example `tpu`: choose from disaggregated, gpu, local" in " ".join(done.stderr.split())


def test_the_packaged_config_is_never_written_to(installed: Installed) -> None:
    packaged = installed.site / "app/config/examples/local.yaml"
    sample = installed.site.parent / "sample.jsonl"
    sample.write_text('"Why?"\n' * 10)
    before = packaged.read_text()
    done = installed.penstock("route", "calibrate", str(sample), "--write")
    assert 2 == done.returncode
    assert "`penstock config example > serve_config.yaml` first" in " ".join(done.stderr.split())
    assert before == packaged.read_text()


def test_every_weight_of_our_own_is_there_as_pinned(installed: Installed) -> None:
    done = installed.run(sys.executable, "-c", WEIGHTS)
    assert 0 == done.returncode, done.stderr
    site, *folders = done.stdout.splitlines()
    assert str(installed.site) == site
    assert sum(model.package == "app" for model in CATALOG.values()) == len(folders)
    assert [] == [folder for folder in folders if not folder.startswith(site)]
