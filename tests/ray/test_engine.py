"""The Engine port over real Ray Serve: a pool's replica that runs the fake engine keeps the contract of all engines.

With vLLM in the replica: test_pool.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from app.core.events import Message, Usage
from app.core.ports import EngineError, Generation
from app.testing.fakes import FakeEngine
from deployments.engine_client import Chat, ServeEngine, encode, encode_error
from tests.contracts.engine_contract import SETTINGS, EngineContract, Make, World

ROOT = Path(__file__).parents[2]
names = count()


@serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=100)
class Pool:
    """What the servers of deployments.vllm_server answer, from a fake engine."""

    def __init__(self, setting: str) -> None:
        self._engine = FakeEngine(**SETTINGS[setting])

    async def generate(self, chat: Chat) -> AsyncIterator[bytes]:
        messages = tuple(Message(one["role"], one["content"]) for one in chat.conversation)
        try:
            request = Generation(chat.params["request_id"], messages, chat.params)
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    yield encode(event, []) if isinstance(event, Usage) else encode(None, [event])
        except EngineError as error:
            yield encode_error(error)

    async def check(self) -> None:
        """It is well."""

    async def seen(self) -> tuple[int, int]:
        return self._engine.running, len(self._engine.aborts)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=1, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})
    serve.start(proxy_location="Disabled")  # nothing here goes through HTTP, and the port may be another's
    yield
    serve.shutdown()
    ray.shutdown()


class TestServeEngine(EngineContract):
    @pytest.fixture
    def make(self, cluster: None) -> Iterator[Make]:
        started: list[str] = []

        def run(setting: str) -> DeploymentHandle:
            started.append(f"engine-{next(names)}")
            return serve.run(Pool.bind(setting), name=started[-1], route_prefix=None)

        def look(handle: DeploymentHandle, at: int) -> Any:
            async def seen() -> int:
                counts: tuple[int, int] = await handle.seen.remote()
                return counts[at]

            return seen

        async def made(setting: str) -> World:
            handle = run(setting)
            lost = run("plain")
            gone = ServeEngine(lost, patience=0.5)
            serve.delete(started.pop())
            return World(ServeEngine(handle), look(handle, 0), look(handle, 1), gone)

        yield made
        for name in started:
            serve.delete(name)
