"""`penstock serve` ends with all that it started, however it was started itself. Its child is a stand-in."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
CHILD = """#!{python}
import os, subprocess, sys, time
grandchild = [sys.executable, "-c", "import sys, time; print('up', flush=True); time.sleep(600)"]
started = [subprocess.Popen(grandchild, stdout=subprocess.PIPE, start_new_session=apart) for apart in (True, False)]
for one in started:
    one.stdout.readline()
print("PIDS", os.getpid(), *(one.pid for one in started), flush=True)
{then}
"""
WAITS, DIES = "time.sleep(600)", "os._exit(3)"
SERVE = """
import sys, time
from pathlib import Path
from graphs import launch
launch.GRACE = 0.2
launch.banner = lambda *_: "ready"
def wait(child, url, log, patience):
    while "PIDS" not in log.read_text():
        time.sleep(0.01)
launch.wait_until_ready = wait
sys.executable = {child!r}
launch.launch(Path({config!r}), None, 0, 60)
"""


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        one.kill()
        one.wait(10)


def begin(folder: Path, then: str, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """`penstock serve` from a shell that ignores SIGINT, as that of a script's `&` does."""
    child, config = folder / "child", folder / "config.yaml"
    child.write_text(CHILD.format(python=sys.executable, then=then))
    child.chmod(0o755)
    config.write_text("{}")
    code = SERVE.format(child=str(child), config=str(config))
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    started.append(process)
    return process


def pids(folder: Path) -> list[int]:
    log = (folder / "state" / "serve.log").read_text()
    return [int(word) for word in log.split("PIDS")[1].splitlines()[0].split()]


def alive(numbers: list[int]) -> list[int]:
    found = []
    for number in numbers:
        with suppress(psutil.NoSuchProcess):
            found += [number] if psutil.Process(number).status() != psutil.STATUS_ZOMBIE else []
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_ends_on_a_signal_that_was_ignored_where_it_was_started(
    tmp_path: Path, serve: list[subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = begin(tmp_path, WAITS, serve)
    assert process.stderr is not None
    while "ready" not in (line := process.stderr.readline()):
        assert line, "it ended before it was ready"
    family = pids(tmp_path)
    assert family == alive(family)
    process.send_signal(number)
    assert 0 == process.wait(30)
    assert [] == alive(family)


def test_when_its_child_dies_it_ends_what_that_left_behind(tmp_path: Path, serve: list[subprocess.Popen[str]]) -> None:
    process = begin(tmp_path, DIES, serve)
    assert 1 == process.wait(30)
    assert [] == alive(pids(tmp_path))
