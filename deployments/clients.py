"""A DeploymentHandle turned back into its port. Whatever goes wrong on the way is a PortError that names the port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ray.serve.handle import DeploymentHandle

from app.core.ports import CacheMatch, Hit, PortError, Span, Stock, Vector

PATIENCE = 15.0
"""Seconds a port may take, queueing included."""
PULSE = 3.0
"""Seconds a readiness question may take."""


class Client:
    """Calls one deployment. `port`: its name in errors."""

    def __init__(self, port: str, handle: DeploymentHandle) -> None:
        self._port = port
        self._handle = handle
        self._methods: dict[str, DeploymentHandle] = {}

    async def ready(self) -> bool:
        """Whether a replica answers now. Never raises."""
        try:
            async with asyncio.timeout(PULSE):
                return bool(await self._handle.ready.remote())
        except Exception:  # noqa: BLE001 - any failure means no
            return False

    async def _ask(self, method: str, *args: Any) -> Any:
        # Every attribute of a handle is a new handle: kept, it costs nothing a call.
        if method not in self._methods:
            self._methods[method] = getattr(self._handle, method)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._methods[method].remote(*args)
        except Exception as error:
            raise PortError(self._port, type(error).__name__) from error


class EncoderClient(Client):
    """ports.Encoder over a handle."""

    async def encode(self, texts: Sequence[str]) -> Vector:
        vectors: Vector = await self._ask("encode", list(texts))
        return vectors


class ScrubberClient(Client):
    """ports.Scrubber over a handle."""

    async def scan(self, texts: Sequence[str]) -> list[list[Span]]:
        spans: list[list[Span]] = await self._ask("scan", list(texts))
        return spans


class ClassifierClient(Client):
    """ports.Classifier over a handle."""

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        if not texts:
            return []
        scores: list[dict[str, float]] = await self._ask("score_texts", list(texts))
        return scores


class ComplexityClient(Client):
    """ports.Complexity over a handle."""

    async def score(self, text: str, vector: Vector) -> float:
        return float(await self._ask("score", text, vector))


class CacheClient(Client):
    """ports.Index over a handle."""

    async def exact(self, partition: str, question: str) -> Hit | None:
        hit: Hit | None = await self._ask("exact", partition, question)
        return hit

    async def lookup(self, partition: str, vector: Vector, floor: float, most: int = 4) -> CacheMatch:
        found: CacheMatch = await self._ask("lookup", partition, vector, floor, most)
        return found

    async def store(  # noqa: PLR0917 - six things make an entry
        self,
        partition: str,
        vector: Vector,
        question: str,
        entry: Mapping[str, Any],
        ttl: float,
        worth: float = 0.0,
    ) -> None:
        await self._ask("store", partition, vector, question, entry, ttl, worth)

    async def learn(self, partition: str, question: str, score: float, right: bool) -> None:  # noqa: FBT001 - a pair with score
        await self._ask("learn", partition, question, score, right)

    async def forget(self, tenant: str | None = None, model: str | None = None, version: str | None = None) -> int:
        return int(await self._ask("forget", tenant, model, version))

    async def stock(self) -> Stock:
        stock: Stock = await self._ask("stock")
        return stock

    async def size(self) -> int:
        return int(await self._ask("size"))


class ParaphraseClient(Client):
    """ports.Same over a handle."""

    async def score(self, question: str, others: Sequence[str]) -> list[float]:
        if not others:
            return []
        scores: list[float] = await self._ask("score", question, list(others))
        return scores


CLIENTS: dict[str, type[Client]] = {
    "encoder": EncoderClient,
    "scrubber": ScrubberClient,
    "guard": ClassifierClient,
    "complexity": ComplexityClient,
    "moderator": ClassifierClient,
    "cache": CacheClient,
    "paraphrase": ParaphraseClient,
}
"""Port -> its client."""
