"""Each port's adapter as a Serve deployment: replicas of its own, calls batched, no rules.

Gateway -> (app.ports over deployments.clients) -> [these] -> adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve

from app.config.adapters import load
from app.core.ports import CacheMatch, Hit, Span, Stock, Vector


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

    def __del__(self) -> None:
        """Serve calls it when a replica ends: what waits is written, and the next replica may have the store."""
        if close := getattr(getattr(self, "adapter", None), "close", None):
            close()

    async def exact(self, partition: str, question: str) -> Hit | None:
        """As ports.Index.exact."""
        hit: Hit | None = await self.adapter.exact(partition, question)
        return hit

    async def lookup(self, partition: str, vector: Vector, floor: float, most: int = 4) -> CacheMatch:
        """As ports.Index.lookup."""
        found: CacheMatch = await self.adapter.lookup(partition, vector, floor, most)
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
        """As ports.Index.store."""
        await self.adapter.store(partition, vector, question, entry, ttl, worth)

    async def learn(self, partition: str, question: str, score: float, right: bool) -> None:  # noqa: FBT001 - a pair with score
        """As ports.Index.learn."""
        await self.adapter.learn(partition, question, score, right)

    async def forget(self, tenant: str | None = None, model: str | None = None, version: str | None = None) -> int:
        """As ports.Index.forget."""
        return int(await self.adapter.forget(tenant, model, version))

    async def stock(self) -> Stock:
        """As ports.Index.stock."""
        stock: Stock = await self.adapter.stock()
        return stock

    async def size(self) -> int:
        """As ports.Index.size."""
        return int(await self.adapter.size())


class ParaphraseJudge(PortServer):
    """Compares a question with the cache's hits. Not batched: each call's few pairs run one after the other anyway."""

    async def score(self, question: str, others: Sequence[str]) -> list[float]:
        """As ports.Same.score."""
        scores: list[float] = await self.adapter.score(question, others)
        return scores


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
    "paraphrase": ("ParaphraseJudge", ParaphraseJudge),
}
"""Port -> its deployment's name and class."""
