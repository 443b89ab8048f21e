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
from tests.parts import PARTS, needs, needs_of, takes, tell, without_processes

if TYPE_CHECKING:
    from tests.graph import Graph

LAST = ("tests/ray/", "tests/conformance/", "tests/ray/test_graph.py")
"""Folders and files that come after all others, in this order: the last file's last test ends the graph."""

# no deadline: how long an example takes says more of the machine than of the code
settings.register_profile("whole", deadline=None)
settings.register_profile("quick", max_examples=FEW, deadline=None)
settings.load_profile("whole")


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
    part = config.getoption("--part")
    left = [item for item in items if not takes(part, needs(item)) or (part == "quick" and _slow(item))]
    if left:
        config.hook.pytest_deselected(items=left)
        gone = set(left)
        items[:] = [item for item in items if item not in gone]


def _slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file that the part takes nothing of: many load torch, or Ray. One that is named is looked into."""
    named = {(config.invocation_params.dir / word.split("::")[0]).resolve() for word in config.args}
    test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if not test or collection_path.resolve() in named:
        return None
    return None if takes(config.getoption("--part"), needs_of(collection_path)) else True


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
