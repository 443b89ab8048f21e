"""What tests of several folders share: the running graph, and an order in which it runs as briefly as possible."""

from __future__ import annotations

import pytest

from tests.graph import graph, other_key
from tests.skips import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["graph", "other_key", "pytest_sessionfinish", "pytest_terminal_summary"]

LAST = ("tests/ray/", "tests/conformance/", "tests/ray/test_graph.py")
"""Folders and files that come after all others, in this order: the last file's last test ends the graph."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: max((at + 1 for at, path in enumerate(LAST) if item.nodeid.startswith(path)), default=0)
    )
