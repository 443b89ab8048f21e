"""Store the moderated answer, placeholders and all.  moderate -> [remember] -> restore.

Reads Token and the end; yields everything unchanged. Only whole, unrefused engine answers are stored.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import Any

from app.call import Call
from app.config import Recall as Settings
from app.events import Failure, Prompt, Refusal, Token
from app.ports import Encoder, Index, PortError
from app.stage import Events

log = logging.getLogger(__name__)
WHOLE = frozenset({"stop", "length"})


class Remember:
    """`settings`: recall's, since both ends agree on how long an answer lives."""

    name = "remember"

    def __init__(self, encoder: Encoder, index: Index, settings: Settings) -> None:
        self._encoder = encoder
        self._index = index
        self._settings = settings

    async def __call__(self, call: Call, events: Events) -> Events:
        texts: dict[int, list[str]] = {}
        ends: dict[int, str] = {}
        stops: dict[int, str | None] = {}
        spoiled = False
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Token) and event.tool:
                    spoiled = True  # a tool's call is asked for anew: its result may be another
                elif isinstance(event, Token):
                    texts.setdefault(event.choice, []).append(event.text)
                    if event.finish_reason:
                        ends[event.choice], stops[event.choice] = event.finish_reason, event.stop
                elif isinstance(event, Refusal | Failure | Prompt):
                    spoiled = True
                yield event
        whole = bool(texts) and texts.keys() == ends.keys() and WHOLE.issuperset(ends.values())
        if whole and not spoiled and not call.hit and call.partition and call.write_cache:
            answers = [
                {"choice": c, "text": "".join(texts[c]), "finish_reason": ends[c], "stop": stops[c]}
                for c in sorted(texts)
            ]
            await self._store(call, answers)

    async def _store(self, call: Call, answers: list[dict[str, Any]]) -> None:
        entry = {
            "answers": answers,
            "tier": call.tier,
            "prompt": call.usage.prompt,
            "completion": call.usage.completion,
        }
        question = call.question
        assert call.partition is not None  # noqa: S101 - the caller checked
        try:
            with call.timed(self.name):
                vector = await call.embed(self._encoder, question)
                await self._index.store(call.partition, vector, question, entry, self._settings.ttl)
            call.note(self.name, stored=True)
        except PortError as error:
            # The answer is already out and paid for: a cache that is down costs a later hit, not this call.
            log.warning("answer not stored: %s", error)
            call.note(self.name, stored=False)
