"""Take personal data out: other names go on, originals stay in the call's vault.  admit -> [scrub] -> guard.

Reads Prompt; yields Prompt, or Refusal where the tenant lets no personal data in. What becomes of it is the tenant's
choice (`safety.personal`), or the installation's (`scrub.mode`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from app.config import Scrub as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import ScrubDecision
from app.core.events import Prompt, Refusal
from app.core.lru import Recent
from app.core.ports import Hiding, Scrubber, Span
from app.core.stage import Events
from app.core.vault import Vault
from app.pipeline.assembly import Assembly
from app.privacy.pseudonyms import Hashed, Redacted, Surrogates
from app.privacy.spans import Wanted, chosen
from app.safety import schemas


class Scrub:
    """Scans every message, whatever its role: a name in the system prompt is a name. Tools and schemas as well."""

    name = "scrub"

    def __init__(self, scrubber: Scrubber, settings: Settings, key: bytes) -> None:
        """key: of the installation; hashes and stand-ins are made with it."""
        self._scrubber = scrubber
        self._settings = settings
        self._key = key
        self._known: Recent[list[Span]] = Recent(4096)  # an application sends its tools with every call

    @classmethod
    def of(cls, parts: Assembly) -> Scrub:
        return cls(parts.ports.scrubber, parts.policy.scrub, parts.ports.key)

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Scan while the guard scores and the encoder embeds."""
        call.start(self.name, self._scan(prompt.texts, self._words(prompt)))

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Prompt):
                    yield event
                    continue
                scrubbed = await self._scrubbed(call, event)
                yield scrubbed
                if isinstance(scrubbed, Refusal):
                    return

    async def _scan(self, texts: Sequence[str], words: Sequence[str]) -> list[list[Span]]:
        known = {word: self._known[word] for word in words if word in self._known}
        new = [word for word in dict.fromkeys(words) if word not in known]
        found = await self._scrubber.scan([*texts, *new])
        for word, spans in zip(new, found[len(texts) :], strict=True):
            known[word] = self._known[word] = spans
        return [*found[: len(texts)], *(known[word] for word in words)]

    async def _scrubbed(self, call: Call, prompt: Prompt) -> Prompt | Refusal:
        with call.timed(self.name):
            found: list[list[Span]] = await call.finished(self.name)
        texts = [*prompt.texts, *self._words(prompt)]
        kept = chosen(texts, found, self._wanted(call))
        types = Counter(span.type for spans in kept for span in spans)
        mode = call.who.safety.personal or self._settings.mode
        call.decisions.scrub = ScrubDecision(types, mode if types else None)
        if not types:
            return prompt
        if mode == "block":
            return Refusal(self.name, errors.personal_data(types))
        call.vault, hidden = self._hidden(call, mode, texts, kept)
        said = len(prompt.texts)
        return replace(prompt.saying(hidden[:said]), params=schemas.saying(prompt.params, hidden[said:]))

    def _hidden(
        self, call: Call, mode: Hiding, texts: Sequence[str], kept: Sequence[Sequence[Span]]
    ) -> tuple[Vault, list[str]]:
        """The call's vault, and every text as the engine may see it."""
        vault = self._vault(call, mode, texts)
        vault.reserve(texts)
        hidden = [vault.hide(text, spans) for text, spans in zip(texts, kept, strict=True)]
        if mode == "synthetic" and not _comes_back(vault, hidden, texts):
            # Stand-ins that run into other text cannot be told from it; placeholders always can.
            return self._hidden(call, "placeholder", texts, kept)
        return vault, hidden

    def _vault(self, call: Call, mode: Hiding, texts: Sequence[str]) -> Vault:
        if mode == "redact":
            return Vault(Redacted())
        if mode == "hash":
            return Vault(Hashed(self._key, call.who.tenant))
        return Vault(Surrogates(self._key, call.who.tenant, texts) if mode == "synthetic" else None)

    def _words(self, prompt: Prompt) -> list[str]:
        return schemas.words(prompt.params) if self._settings.tools else []

    def _wanted(self, call: Call) -> Wanted:
        safety, types = call.who.safety, self._settings.types
        if safety.personal_types is not None:
            types = list(safety.personal_types)
        return Wanted(
            types=None if types is None else frozenset(types),
            threshold=self._settings.threshold,
            allow=safety.personal_allow,
            deny=safety.personal_deny,
        )


def _comes_back(vault: Vault, hidden: Sequence[str], texts: Sequence[str]) -> bool:
    restorer = vault.restorer()
    return all(restorer.feed(said) + restorer.flush() == text for said, text in zip(hidden, texts, strict=True))
