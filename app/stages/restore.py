"""Put the caller's own data back where placeholders stand.  remember -> [restore] -> settle.

Reads Token; yields Token. A placeholder split across Tokens is held back until it is whole.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

from app.call import Call
from app.events import Refusal, Token
from app.rules.placeholders import Restorer
from app.stage import Events


class Restore:
    name = "restore"

    async def __call__(self, call: Call, events: Events) -> Events:
        restorers: dict[int, Restorer] = {}
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Token) and call.vault.originals:
                    restorer = restorers.setdefault(event.choice, Restorer(call.vault.originals))
                    text = restorer.feed(event.text)
                    if event.finish_reason:
                        text += restorer.flush()
                    if text or event.finish_reason or event.logprobs:
                        yield replace(event, text=text)
                    continue
                if isinstance(event, Refusal) and event.choice in restorers:
                    # What was held back had passed the moderator before the refusal came.
                    held = restorers.pop(event.choice).flush()
                    if held:
                        yield Token(held, event.choice)
                yield event
