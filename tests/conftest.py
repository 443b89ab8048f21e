"""What tests of several folders share: the running graph, and which tests a run takes (`--part`).

Nothing heavy is imported here: fixtures import what they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import skips
from tests.examples import FEW
from tests.parts import PARTS, needs, tell, without_processes

if TYPE_CHECKING:
    from tests.graph import Graph

LAST = ("tests/ray/", "tests/conformance/", "tests/ray/test_graph.py")
"""Folders and files that come after all others, in this order: the last file's last test ends the graph."""

settings.register_profile("quick", max_examples=FEW)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("penstock")
    group.addoption("--part", choices=sorted(PARTS), default="all", help="; ".join(PARTS.values()))
    group.addoption("--tally", type=Path, help="a file that gets this run's counts")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(skips, "skips")
    if config.getoption("--part") == "quick":
        settings.load_profile("quick")  # before any test module is imported
        if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
            return  # xdist's own processes run the tests, not this one
        without_processes()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for need in needs(item):
            item.add_marker(need)
    items.sort(
        key=lambda item: max((at + 1 for at, path in enumerate(LAST) if item.nodeid.startswith(path)), default=0)
    )
    takes = {
        "all": lambda _: True,
        "quick": lambda item: not needs(item) and item.get_closest_marker("slow") is None,
        "apart": lambda item: "graph" not in needs(item),
        "graph": lambda item: "graph" in needs(item),
    }[config.getoption("--part")]
    left = [item for item in items if not takes(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if takes(item)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if file := config.getoption("--tally"):
        tell(file, {kind: len(found) for kind, found in terminalreporter.stats.items()})


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """The whole local graph with real models, started once for all tests that ask it."""
    from tests.graph import local_config, running
    from tests.kit import free_port

    port = free_port()
    with running(tmp_path_factory.mktemp("graph"), local_config(port), port) as started:
        yield started


@pytest.fixture
def other_key(graph: Graph) -> str:
    """A key of another tenant, made as an operator makes one."""
    return graph.new_key("globex")
