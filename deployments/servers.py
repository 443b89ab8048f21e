"""A port's adapter as a Serve deployment: replicas of its own, calls batched, no rules.

Gateway -> (app.core.ports over deployments.clients) -> [this] -> adapter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ray import serve

from app.config.adapters import load
from deployments.methods import methods

Ask = Callable[[Sequence[str]], Awaitable[Any]]


class PortServer:
    """Loads the port's adapter once a replica and has the methods of its Protocol. `batch`: most calls scored together.

    What a method returns is what the adapter's returns. One whose only argument is texts is batched.
    """

    def __init__(self, port: str, adapter: str, options: dict[str, Any], batch: int) -> None:
        self.adapter = load(port, adapter)(**options)
        for method in methods(port):
            ask = getattr(self.adapter, method.name)
            setattr(self, method.name, _batched(ask, batch) if method.joined else ask)

    async def ready(self) -> bool:
        """The replica has loaded its model and its loop turns."""
        return True

    def __del__(self) -> None:
        """Serve calls it when a replica ends: what waits is written, and the next replica may have the store."""
        if close := getattr(getattr(self, "adapter", None), "close", None):
            close()


def _batched(ask: Ask, batch: int) -> Callable[[Sequence[str]], Awaitable[Any]]:
    """As `ask`, many calls in one pass of the model."""

    @serve.batch(max_batch_size=batch, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def asked_together(calls: list[Sequence[str]]) -> list[Any]:
        return _split(calls, await ask([text for texts in calls for text in texts]))

    together: Callable[[Sequence[str]], Awaitable[Any]] = asked_together
    return together


def _split(calls: list[Sequence[str]], results: Any) -> list[Any]:
    """One flat list of results, back by call."""
    out, at = [], 0
    for texts in calls:
        out.append(results[at : at + len(texts)])
        at += len(texts)
    return out
