"""Run the tests in two runs of pytest: what needs no graph side by side, then what runs on Ray, alone.  `make test`.

    python tools/test.py [--quick] [PYTEST'S ARGUMENTS]

--quick: one run, side by side, of what needs no Ray, no PostgreSQL, no Chromium and no model's weights. Each run ends
with pytest's own summary, and all of it with one line as pytest's last one: the sums. The exit code is 0 only where
tests ran and every run passed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SIDE_BY_SIDE = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
QUICK = (("quick", ("--durations", "5", *SIDE_BY_SIDE)),)
COVERAGE = ("--cov", "--cov-report=")
RUNS = (("apart", ("--durations", "20", *SIDE_BY_SIDE)), ("graph", ("--durations", "20")))
"""Parts of tests/parts.py, and how each is run."""
PASSED, NOTHING = 0, 5
"""pytest's exit codes: all passed; none was found."""
SAID = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "error")


def run(part: str, options: tuple[str, ...], arguments: list[str], tally: Path) -> int:
    """One run of pytest; its exit code."""
    command = [sys.executable, "-m", "pytest", f"--part={part}", f"--tally={tally}", *options, *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - ourselves


def closing(counts: Counter[str], seconds: float) -> str:
    """As pytest ends: `3 failed, 1200 passed in 812.45s`."""
    named = {kind: f"{kind}s" if kind == "error" and counts[kind] > 1 else kind for kind in SAID if counts[kind]}
    shown = ", ".join(f"{counts[kind]} {name}" for kind, name in named.items()) or "no tests ran"
    return f"{shown} in {seconds:.2f}s"


def _whole(part: str) -> list[str]:
    """Arguments of a run of all: the floor of coverage holds for what runs in pytest's own processes."""
    return list(COVERAGE) if part == "apart" else []


def main(arguments: list[str]) -> int:
    """Every run, whatever became of the one before."""
    runs = QUICK if arguments[:1] == ["--quick"] else RUNS
    arguments = arguments[1:] if runs is QUICK else arguments
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        codes = [run(part, options, arguments or _whole(part), Path(folder) / part) for part, options in runs]
        counts = sum((Counter(json.loads(file.read_text())) for file in Path(folder).iterdir()), Counter[str]())
    del counts["deselected"]  # by the division into runs
    print(closing(counts, time.monotonic() - began), flush=True)
    bad = [code for code in codes if code not in {PASSED, NOTHING}]
    return bad[0] if bad else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
