"""One call on its way through the rooms: who, until when, what was found, what was spent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.events import Usage
from app.ports import Encoder, Principal, Reservation, Vector, Window
from app.rules.placeholders import Vault


@dataclass(slots=True)
class Call:
    """State that rooms share. Everything else travels as events.

    started, deadline, first_token: seconds on the monotonic clock; created: Unix time.
    trail: what each room decided, by room; facts and counts only, never text.
    """

    id: str
    who: Principal
    deadline: float
    created: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    model: str = "auto"
    choices: int = 1
    question: str = ""
    prompt_tokens_low: int = 0
    prompt_tokens_high: int = 0
    max_completion: int = 0
    read_cache: bool = True
    write_cache: bool = True
    vault: Vault = field(default_factory=Vault)
    reservation: Reservation | None = None
    windows: Mapping[str, Window] = field(default_factory=dict)
    partition: str | None = None
    tier: str | None = None
    plan: tuple[str, ...] = ()
    pool: str | None = None
    region: str | None = None
    hit: bool = False
    usage: Usage = field(default_factory=Usage)
    cost: str = "0"
    trail: dict[str, dict[str, Any]] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _embedded: tuple[str, asyncio.Task[Vector]] | None = None

    def note(self, room: str, **facts: Any) -> None:
        """Add facts to the trail. Never text of the caller or the model."""
        self.trail.setdefault(room, {}).update(facts)

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Start work that a later room will wait for, so that rooms overlap."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(_retrieved)
        self._tasks[name] = task

    async def finished(self, name: str) -> Any:
        """What the work under this name returns or raises; a room has started it."""
        return await self._tasks[name]

    async def embed(self, encoder: Encoder, text: str) -> Vector:
        """The text's vector, float32 (dim,). One encoder pass a text: cache and router share it."""
        self.begin_embed(encoder, text)
        assert self._embedded is not None  # noqa: S101 - begin_embed has just set it
        return await asyncio.shield(self._embedded[1])

    def begin_embed(self, encoder: Encoder, text: str) -> None:
        """Start that pass unless it already runs for this text."""
        if self._embedded and self._embedded[0] == text:
            return
        if self._embedded:
            self._embedded[1].cancel()
        task = asyncio.ensure_future(_first(encoder, text))
        task.add_done_callback(_retrieved)
        self._embedded = (text, task)

    def close(self) -> None:
        """End whatever is still running for this call."""
        for task in self._tasks.values():
            task.cancel()
        if self._embedded:
            self._embedded[1].cancel()

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


async def _first(encoder: Encoder, text: str) -> Vector:
    vectors = await encoder.encode([text])
    vector: Vector = vectors[0]
    return vector


def _retrieved(task: asyncio.Task[Any]) -> None:
    """A task that nobody came to await must not complain at exit: its failure is raised where it is awaited."""
    if not task.cancelled():
        task.exception()
