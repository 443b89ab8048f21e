"""Take personal data out: placeholders go on, originals stay in the call's vault.  admit -> [scrub] -> guard.

Reads Prompt; yields Prompt.
"""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing

from app.call import Call
from app.config import Scrub as Settings
from app.events import Prompt
from app.ports import Scrubber, Span
from app.stage import Events


class Scrub:
    """Scans every message, whatever its role: a name in the system prompt is a name."""

    name = "scrub"

    def __init__(self, scrubber: Scrubber, settings: Settings) -> None:
        self._scrubber = scrubber
        self._settings = settings

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Scan while the guard scores and the encoder embeds."""
        call.start(self.name, self._scrubber.scan(prompt.texts))

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                yield await self._scrubbed(call, event) if isinstance(event, Prompt) else event

    async def _scrubbed(self, call: Call, prompt: Prompt) -> Prompt:
        with call.timed(self.name):
            found: list[list[Span]] = await call.finished(self.name)
        call.vault.reserve(prompt.texts)
        kept = [[span for span in spans if self._wanted(span)] for spans in found]
        call.note(self.name, types=dict(Counter(span.type for spans in kept for span in spans)))
        if not any(kept):
            return prompt
        return prompt.saying([call.vault.hide(text, spans) for text, spans in zip(prompt.texts, kept, strict=True)])

    def _wanted(self, span: Span) -> bool:
        types = self._settings.types
        return span.score >= self._settings.threshold and (types is None or span.type in types)
