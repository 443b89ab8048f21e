"""What a model thought, for who asked for it.  route -> [shown] -> answer."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from app.core.events import Token
from app.core.stage import Events


def wanted(thinking: Any) -> bool:
    """Whether a request's `thinking`, as sent or as read, asks for it."""
    kind = thinking.get("type") if isinstance(thinking, dict) else getattr(thinking, "type", None)
    return kind in ("enabled", "adaptive")


async def shown(events: Events, thinking: Any) -> Events:
    """The events, without thoughts where `thinking` does not ask for them: Anthropic sends none unasked."""
    tells = wanted(thinking)
    async with aclosing(events):
        async for event in events:
            if tells or not (isinstance(event, Token) and event.reasoning):
                yield event
