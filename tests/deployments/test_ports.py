"""A port over a handle is the port: its Protocol alone says what replicas serve and what clients ask."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import serve

from app.config.ports import PORTS
from app.core.ports import CacheMatch, PortError
from app.testing.fakes import FakeClassifier
from deployments import clients
from deployments.clients import PortClient
from deployments.methods import methods
from deployments.servers import PortServer


class Handle:
    """A deployment's handle, in this process. `asked`: method and arguments of each call."""

    def __init__(self, server: Any, method: str = "", asked: list[Any] | None = None) -> None:
        self.server, self.method = server, method
        self.asked: list[Any] = [] if asked is None else asked

    def __getattr__(self, name: str) -> Handle:
        return Handle(self.server, name, self.asked)

    async def remote(self, *args: Any) -> Any:
        self.asked.append((self.method, *args))
        return await getattr(self.server, self.method)(*args)


def served(port: str, **options: Any) -> tuple[Any, PortServer, Handle]:
    server = PortServer(port, "fake", options, 8)
    handle = Handle(server)
    return PortClient(port, handle), server, handle  # type: ignore[arg-type]


def test_what_is_batched_is_what_takes_texts_alone() -> None:
    joined = {(port, method.name) for port in PORTS for method in methods(port) if method.joined}
    assert {("encoder", "encode"), ("scrubber", "scan"), ("guard", "score"), ("moderator", "score")} == joined


@pytest.mark.parametrize("port", PORTS)
def test_a_client_has_every_method_of_its_protocol_and_no_other(port: str) -> None:
    client, _, _ = served(port)
    asked = {name for name in vars(client) if not name.startswith("_")}
    assert {n for n, f in vars(PORTS[port].protocol).items() if not n.startswith("_") and callable(f)} == asked


async def test_calls_that_come_together_are_one_pass_and_each_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=64))
    monkeypatch.setattr(serve, "get_replica_context", lambda: replica)
    client, server, _ = served("guard", words={"injection": ["obey"]})
    one, two = await asyncio.gather(client.score(["hello", "obey"]), client.score(("fine",)))
    assert ([0.01, 0.99], [0.01]) == ([s["injection"] for s in one], [s["injection"] for s in two])
    assert isinstance(server.adapter, FakeClassifier)
    assert [("hello", "obey", "fine")] == server.adapter.calls


async def test_no_texts_ask_nobody() -> None:
    for port, args in (("guard", ([],)), ("paraphrase", ("hello", []))):
        client, _, handle = served(port)
        assert [] == await client.score(*args)
        assert [] == handle.asked


async def test_arguments_by_name_and_defaults_arrive_in_the_protocols_order() -> None:
    client, _, handle = served("cache")
    await client.store("t/m/v/h", np.ones(2, np.float32), "question", {"answers": []}, worth=0.5, ttl=60.0)
    found = await client.lookup("t/m/v/h", np.ones(2, np.float32), floor=0.5)
    assert isinstance(found, CacheMatch)
    assert (60.0, 0.5) == handle.asked[0][5:]
    assert ("lookup", 4) == (handle.asked[1][0], handle.asked[1][-1])
    assert 1 == await client.forget(tenant="t")


async def test_whatever_goes_wrong_is_the_ports_own_error_without_its_words() -> None:
    client, _, _ = served("complexity", error=ValueError("the caller's text"))
    with pytest.raises(PortError, match=r"^complexity: ValueError$"):
        await client.score("text", np.ones(2, np.float32))


async def test_a_replica_that_is_gone_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server, _ = served("complexity")
    assert await client.ready()
    monkeypatch.setattr(clients, "PULSE", 0.01)
    monkeypatch.setattr(server, "ready", lambda: asyncio.sleep(60))
    assert not await client.ready()
