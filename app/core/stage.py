"""A stage is `events in -> events out`; the pipe is their fold.

    pipe = fold([admit, scrub, ...]);  async for event in pipe(call, prompt): ...

A stage acts on the events it owns, passes on the rest, and closes what it reads (`aclosing`), so that a
client's hang-up travels from the last stage to the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol, runtime_checkable

from app.core.call import Call
from app.core.events import Event, Prompt

Events = AsyncGenerator[Event, None]
Pipe = Callable[[Call, Prompt], Events]


class Stage(Protocol):
    """A stage."""

    name: str

    def __call__(self, call: Call, events: Events) -> Events: ...


@runtime_checkable
class Early(Protocol):
    """A stage with work that needs only the raw Prompt: started at once, so that stages overlap."""

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Start that work as a task on the call (`call.start`). Returns at once."""
        ...


async def _source(prompt: Prompt) -> Events:
    yield prompt


def fold(stages: Sequence[Stage]) -> Pipe:
    """The pipe that runs a call through `stages`, first to last."""

    def pipe(call: Call, prompt: Prompt) -> Events:
        events = _source(prompt)
        for stage in stages:
            events = stage(call, events)
        return events

    return pipe
