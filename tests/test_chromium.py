"""Where the browser of the browser tests comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import chromium

COMMAND = "sudo apt-get install -y --no-install-recommends chromium"


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder on PATH, empty; this process is root."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    chromium._install.cache_clear()
    yield folder
    chromium._install.cache_clear()


def program(folder: Path, name: str, text: str = "") -> Path:
    file = folder / name
    file.write_text(f'#!/bin/sh\necho "$0 $*" >>{folder.parent}/calls\n{text}\n')
    file.chmod(0o755)
    return file


def calls(folder: Path) -> list[str]:
    file = folder.parent / "calls"
    return [line.removeprefix(f"{folder}/") for line in file.read_text().splitlines()] if file.exists() else []


def installing(folder: Path) -> str:
    """What an apt-get does that brings the browser."""
    there = folder / "chromium"
    return f'if [ "$1" = install ]; then echo "#!/bin/sh" >{there}; /bin/chmod 755 {there}; fi'


def test_one_on_the_path_is_taken_and_nothing_is_installed(path: Path) -> None:
    program(path, "apt-get")
    google = program(path, "google-chrome")
    assert str(google) == chromium._binary()
    assert [] == calls(path)


def test_root_has_apt_install_it(path: Path) -> None:
    program(path, "apt-get", installing(path))
    assert str(path / "chromium") == chromium._binary()
    assert ["apt-get update", COMMAND.removeprefix("sudo ")] == calls(path)


def test_others_ask_a_sudo_that_may_not_ask_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(path, "apt-get", installing(path))
    program(path, "sudo", 'shift; exec "$@"')
    assert str(path / "chromium") == chromium._binary()
    assert ["sudo -n apt-get update", "apt-get update", f"sudo -n {COMMAND[5:]}", COMMAND[5:]] == calls(path)


@pytest.mark.parametrize(
    ("uid", "programs", "why"),
    [
        (0, {}, "it cannot be installed from here"),
        (1000, {"apt-get": ""}, "it cannot be installed from here"),
        (1000, {"apt-get": "", "sudo": "echo 'sudo: a password is required' >&2; exit 1"}, "a password is required"),
        (0, {"apt-get": "echo 'E: no network' >&2; exit 100"}, "`apt-get update` failed: E: no network"),
        (0, {"apt-get": ""}, "though apt says that it was installed"),
    ],
    ids=["no apt", "no sudo", "password", "failed", "nothing came"],
)
def test_where_none_can_be_had_the_test_is_skipped_with_the_command_that_lets_it_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, programs: dict[str, str], why: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    for name, text in programs.items():
        program(path, name, text)
    with pytest.raises(pytest.skip.Exception) as skipped:
        chromium._binary()
    assert why in str(skipped.value)
    assert str(skipped.value).endswith(f"To run them: {COMMAND}")


def test_it_is_tried_once_however_many_tests_want_it(path: Path) -> None:
    program(path, "apt-get", "exit 1")
    for _ in range(3):
        with pytest.raises(pytest.skip.Exception):
            chromium._binary()
    assert ["apt-get update"] == calls(path)
