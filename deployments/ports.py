"""Each port's adapter as a Serve deployment: replicas of its own, calls batched, no rules.

Gateway -> (app.ports over deployments.clients) -> [these] -> adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve

from app.ports import Hit, Span, Vector
from app.registry import load


class PortServer:
    """Loads the port's adapter once a replica. `batch`: most calls scored together."""

    def __init__(self, port: str, adapter: str, options: dict[str, Any], batch: int) -> None:
        self.adapter = load(port, adapter)(**options)
        for name in ("encode", "scan", "score_texts"):
            if method := getattr(self, name, None):
                method.set_max_batch_size(batch)

    async def ready(self) -> bool:
        """The replica has loaded its model and its loop turns."""
        return True


class Encoder(PortServer):
    """Batched encoding."""

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def encode(self, calls: list[Sequence[str]]) -> list[Vector]:
        """As ports.Encoder.encode, many calls in one pass of the model."""
        vectors = await self.adapter.encode([text for texts in calls for text in texts])
        return _split(calls, vectors)


class Scrubber(PortServer):
    """Batched scanning."""

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def scan(self, calls: list[Sequence[str]]) -> list[list[list[Span]]]:
        """As ports.Scrubber.scan."""
        return _split(calls, await self.adapter.scan([text for texts in calls for text in texts]))


class Classifier(PortServer):
    """Batched scoring; guard and moderator alike."""

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def score_texts(self, calls: list[Sequence[str]]) -> list[list[dict[str, float]]]:
        """As ports.Classifier.score."""
        return _split(calls, await self.adapter.score([text for texts in calls for text in texts]))


class Complexity(PortServer):
    """The complexity head: too small to batch."""

    async def score(self, text: str, vector: Vector) -> float:
        """As ports.Complexity.score."""
        return float(await self.adapter.score(text, vector))


class Cache(PortServer):
    """The index of one cluster: a single replica."""

    async def lookup(self, partition: str, vector: Vector, threshold: float) -> Hit | None:
        """As ports.Index.lookup."""
        hit: Hit | None = await self.adapter.lookup(partition, vector, threshold)
        return hit

    async def store(self, partition: str, vector: Vector, question: str, entry: Mapping[str, Any], ttl: float) -> None:
        """As ports.Index.store."""
        await self.adapter.store(partition, vector, question, entry, ttl)

    async def size(self) -> int:
        """As ports.Index.size."""
        return int(await self.adapter.size())


def _split(calls: list[Sequence[str]], results: Any) -> list[Any]:
    """One flat list of results, back by call."""
    out, at = [], 0
    for texts in calls:
        out.append(results[at : at + len(texts)])
        at += len(texts)
    return out


SERVERS: dict[str, tuple[str, type[PortServer]]] = {
    "encoder": ("Encoder", Encoder),
    "scrubber": ("Scrubber", Scrubber),
    "guard": ("Guard", Classifier),
    "complexity": ("Complexity", Complexity),
    "moderator": ("Moderator", Classifier),
    "cache": ("Cache", Cache),
}
"""Port -> its deployment's name and class."""
