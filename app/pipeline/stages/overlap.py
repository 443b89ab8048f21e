"""Start what later stages need from the raw Prompt, so that they wait together.  admit -> [overlap] -> scrub.

Reads Prompt; yields everything unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from app.core.call import Call
from app.core.events import Prompt
from app.core.stage import Early, Events, Stage
from app.pipeline.assembly import Assembly


class Overlap:
    """`stages`: all others; those that have something to begin begin it here."""

    name = "overlap"

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._stages = [stage for stage in stages if isinstance(stage, Early)]

    @classmethod
    def of(cls, parts: Assembly) -> Overlap:
        return cls(parts.stages.values())

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt):
                    for stage in self._stages:
                        stage.begin(call, event)
                yield event
