"""tools/install.sh on a pip and a machine that only pretend: what is asked of pip, and what is said when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools/install.sh"
TORCH = "torch==2.13.0+cpu"
PYTORCH = "https://download.pytorch.org/whl/cpu"
QUIET = "install --quiet --disable-pip-version-check --no-deps"
LOCKED = f"{QUIET} -r lock.txt"
SELF = f"{QUIET} --no-build-isolation -e ."
FROM_PYPI = f"{QUIET} {TORCH}"

PIP = """#!/bin/sh
echo "$*" >>"$PIP_CALLS"
case "$*" in
$PIP_RULES
esac
"""
MISSING = f'echo "ERROR: No matching distribution found for {TORCH}" >&2; exit 1'
FULL = 'echo "OSError: [Errno 28] No space left on device" >&2; exit 1'
BROKEN = 'echo "ERROR: the wheel is torn" >&2; exit 1'


@dataclass
class Machine:
    """A folder with a virtual environment whose pip writes its arguments down and fails as the rules say.

    rules: shell patterns of pip's arguments, and what it then does; the first that fits.
    """

    folder: Path
    rules: dict[str, str] = field(default_factory=dict)
    uname: str = "Linux x86_64"
    lock: str = f"anyio==4.16.0\n{TORCH}\n"

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        binaries = self.folder / "venv/bin"
        tools = self.folder / "tools"
        binaries.mkdir(parents=True)
        tools.mkdir()
        rules = "\n".join(f"{pattern}) {act};;" for pattern, act in self.rules.items())
        self._program(binaries / "pip", PIP.replace("$PIP_RULES", rules or "*) ;;"))
        site = f"{self.folder}/venv"
        self._program(binaries / "python", f'#!/bin/sh\nif [ "$2" ]; then echo "{site}"; fi\n')
        self._program(tools / "uname", f"#!/bin/sh\necho '{self.uname}'\n")
        (self.folder / "lock.txt").write_text(self.lock)
        return subprocess.run(
            ["sh", str(SCRIPT), sys.executable, "venv", "lock.txt"],
            cwd=self.folder,
            env={"PATH": f"{tools}:{os.environ['PATH']}", "PIP_CALLS": str(self.folder / "calls"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """What pip was asked, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


def test_where_pip_has_pytorchs_cpu_build_no_other_index_is_asked(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert [FROM_PYPI, LOCKED, SELF] == machine.calls


def test_where_pip_lacks_it_pytorchs_own_index_is_asked_for_that_package_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"*extra-index-url*": ":", f"*{TORCH}": MISSING})
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert [FROM_PYPI, f"{QUIET} --extra-index-url {PYTORCH} {TORCH}", LOCKED, SELF] == machine.calls
    assert f"trying {PYTORCH}" in done.stdout


def test_another_index_may_be_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"*extra-index-url*": ":", f"*{TORCH}": MISSING})
    machine.install(PENSTOCK_TORCH_INDEX="https://mirror.example/cpu")
    assert f"{QUIET} --extra-index-url https://mirror.example/cpu {TORCH}" == machine.calls[1]


def test_where_neither_has_it_the_error_names_both_and_the_fix(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {f"*{TORCH}": MISSING})
    done = machine.install()
    assert 1 == done.returncode
    assert [FROM_PYPI, f"{QUIET} --extra-index-url {PYTORCH} {TORCH}"] == machine.calls
    assert f"error: pip finds {TORCH} neither in its own indexes nor in {PYTORCH}." in done.stderr
    assert "in PENSTOCK_TORCH_INDEX" in done.stderr


@pytest.mark.parametrize(("act", "said"), [(FULL, "the disk is full"), (BROKEN, "its log is venv/install.log")])
def test_another_fault_is_told_as_it_is_and_asks_no_other_index(tmp_path: Path, act: str, said: str) -> None:
    machine = Machine(tmp_path, {f"*{TORCH}": act})
    done = machine.install()
    assert 1 == done.returncode
    assert [FROM_PYPI] == machine.calls
    assert said in done.stderr
    assert "PENSTOCK_TORCH_INDEX" not in done.stderr


def test_a_fault_after_the_fallback_is_not_blamed_on_the_index(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"*extra-index-url*": ":", f"*{TORCH}": MISSING, "*lock.txt": BROKEN})
    done = machine.install()
    assert 1 == done.returncode
    assert "its log is venv/install.log" in done.stderr
    assert "PENSTOCK_TORCH_INDEX" not in done.stderr


def test_a_lock_without_a_cpu_build_installs_as_it_stands(tmp_path: Path) -> None:
    machine = Machine(tmp_path, lock="ruff==0.17.6\ntorch==2.13.0\n")
    machine.install()
    assert [LOCKED, SELF] == machine.calls


@pytest.mark.parametrize("uname", ["Darwin arm64", "Darwin x86_64", "Linux aarch64"])
def test_another_kind_of_machine_is_refused_in_a_sentence_before_anything_is_installed(
    tmp_path: Path, uname: str
) -> None:
    machine = Machine(tmp_path, uname=uname)
    done = machine.install()
    assert 1 == done.returncode
    assert [] == machine.calls
    assert f"the lock files are for Linux on x86-64, and this machine is {uname}." in done.stderr


def test_the_lock_of_make_serve_pins_a_build_that_the_script_recognises(tmp_path: Path) -> None:
    """Else the fallback would never be tried, and nothing above would notice."""
    lock = (SCRIPT.parents[1] / "locks/cpu.txt").read_text()
    machine = Machine(tmp_path, lock=lock)
    machine.install()
    assert [FROM_PYPI, LOCKED, SELF] == machine.calls
