"""Skips are told by name, and fail the run where nobody reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BROWSER = "import pytest\ndef test_page(): pytest.skip('no browser. To run them: get one')\ndef test_other(): pass\n"
WHOLE = "import pytest\npytest.skip('no library', allow_module_level=True)\n"


def ran(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "PENSTOCK_NO_SKIPS"}}
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "tests.skips"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "test_it.py"],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skipped_test_is_named_under_its_reason(tmp_path: Path) -> None:
    done = ran(tmp_path, BROWSER)
    assert 0 == done.returncode, done.stdout
    assert "1 skipped: no browser. To run them: get one\n  test_it.py::test_page\n" in done.stdout
    assert "which is a failure here" not in done.stdout


@pytest.mark.parametrize("environment", [{"CI": "true"}, {"PENSTOCK_NO_SKIPS": "1"}])
@pytest.mark.parametrize("text", [BROWSER, WHOLE], ids=["one", "file"])
def test_in_continuous_integration_a_skip_fails_the_run(tmp_path: Path, environment: dict[str, str], text: str) -> None:
    done = ran(tmp_path, text, **environment)
    assert 1 == done.returncode, done.stdout
    assert "which is a failure here" in done.stdout


def test_in_continuous_integration_a_run_without_skips_passes(tmp_path: Path) -> None:
    done = ran(tmp_path, "def test_other(): pass\n", CI="true")
    assert 0 == done.returncode, done.stdout
    assert "not run" not in done.stdout


def test_a_switched_off_variable_is_none(tmp_path: Path) -> None:
    assert 0 == ran(tmp_path, BROWSER, CI="false", PENSTOCK_NO_SKIPS="0").returncode
