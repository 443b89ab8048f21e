"""A replica's own server listens on loopback where its Ray is alone, and as Ray has it in a cluster."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from deployments import loopback


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """A module in the place of Serve's, and the addresses that it is asked to listen on."""
    addresses: list[str] = []
    serve = SimpleNamespace(add_port_to_grpc_server=lambda _, address: addresses.append(address) or 1)
    monkeypatch.setitem(sys.modules, loopback.SERVE, serve)  # type: ignore[arg-type]
    return serve, addresses


@pytest.mark.parametrize(("node", "expected"), [("127.0.0.1", "127.0.0.1:0"), ("10.0.0.7", "[::]:0")])
def test_it_listens_where_its_node_is(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[Any, list[str]], node: str, expected: str
) -> None:
    serve, addresses = asked
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: node)
    assert loopback.install()
    assert not loopback.install(), "once is enough"
    assert 1 == serve.add_port_to_grpc_server(None, "[::]:0")
    assert [expected] == addresses


def test_this_ray_still_opens_its_server_by_that_name() -> None:
    from ray.serve._private import replica

    source = inspect.getsource(replica)
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in source
