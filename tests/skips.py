"""A skipped test is told by name, with what would let it run; where nobody would read that, it fails the run.

tests/conftest.py -> [skips]. `CI` or `PENSTOCK_NO_SKIPS=1` in the environment makes any skip a failure.
"""

from __future__ import annotations

import os
from collections import defaultdict

import pytest

OFF = {"", "0", "false", "no"}


def strict() -> bool:
    """Whether every test has to run."""
    return any(os.environ.get(name, "").lower() not in OFF for name in ("CI", "PENSTOCK_NO_SKIPS"))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for a skip, where skips are failures."""
    if strict() and _skipped(session.config) and session.exitstatus in {0, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tests that did not run, under the reason that they share."""
    skipped = _skipped(terminalreporter.config)
    if skipped:
        failure = ", which is a failure here (CI or PENSTOCK_NO_SKIPS is set)" if strict() else ""
        terminalreporter.section(f"not run{failure}", yellow=True)
    for reason, names in skipped.items():
        terminalreporter.line(f"{len(names)} skipped: {reason}")
        for name in names:
            terminalreporter.line(f"  {name}")


def _skipped(config: pytest.Config) -> dict[str, list[str]]:
    """The names of what was skipped, by reason; a file's, where it was skipped whole."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found: dict[str, list[str]] = defaultdict(list)
    for report in reporter.stats.get("skipped", []) if reporter else []:
        where = report.longrepr  # file, line, reason
        found[(where[2] if isinstance(where, tuple) else str(where)).removeprefix("Skipped: ")].append(report.nodeid)
    return found
