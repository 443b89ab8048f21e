"""Take personal data out: other names go on, originals stay in the call's vault.  admit -> [scrub] -> guard.

Reads Prompt; yields Prompt, or Refusal where the tenant lets no personal data in. What becomes of it is the tenant's
choice (`safety.personal`), or the installation's (`scrub.mode`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from app.config import Scrub as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import ScrubDecision
from app.core.events import Prompt, Refusal
from app.core.links import KnownLinks
from app.core.lru import Recent
from app.core.places import IDENTIFIERS, Place, replaced, said, strings
from app.core.ports import Hiding, Scrubber, Span
from app.core.stage import Events
from app.core.vault import Vault
from app.pipeline.assembly import Assembly
from app.privacy.pseudonyms import Hashed, Redacted, Surrogates
from app.privacy.public_names import NAMES, public
from app.privacy.schemas import widened
from app.privacy.spans import Wanted, chosen
from app.privacy.views import View, batches, view
from app.safety.foreign import foreign

Scanned = tuple[Place, View, list[Span]]
FORMS = frozenset({"tools", "response_format", "tool_choice"})
"""What `scrub.tools: false` leaves unread."""


class Scrub:
    """Scans every string that the engine would read, whatever its role or place: app/core/places.py."""

    name = "scrub"

    def __init__(self, scrubber: Scrubber, settings: Settings, key: bytes, *, guard_links: bool = True) -> None:
        """key: of the installation; hashes and stand-ins are made with it. guard_links: as policy `restore.links`."""
        self._guard_links = guard_links
        self._scrubber = scrubber
        self._settings = settings
        self._key = key
        self._known: Recent[list[Span]] = Recent(4096)  # an application sends its tools with every call

    @classmethod
    def of(cls, parts: Assembly) -> Scrub:
        guard = parts.policy.restore.links == "keep"
        return cls(parts.ports.scrubber, parts.policy.scrub, parts.ports.key, guard_links=guard)

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Scan while the guard scores and the encoder embeds."""
        call.start(self.name, self._scan(*self._places(prompt)))

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

    async def _scan(self, said: Sequence[Place], fixed: Sequence[Place]) -> list[Scanned]:
        """Every place with its view and the spans in it. fixed: of the parameters, which come again with every call."""
        places = [*said, *fixed]
        views = [view(place) for place in places]
        once = batches(dict.fromkeys(one.text for one in views[: len(said)]))
        often = batches(dict.fromkeys(one.text for one in views[len(said) :]))
        known = {batch: self._known[batch.text] for batch in often if batch.text in self._known}
        new = [batch for batch in often if batch not in known]
        scanned = await self._scrubber.scan([batch.text for batch in (*once, *new)])
        for batch, spans in zip(new, scanned[len(once) :], strict=True):
            self._known[batch.text] = spans
        known |= dict(zip((*once, *new), scanned, strict=True))
        found = {text: spans for batch, all_ in known.items() for text, spans in batch.split(all_)}
        return [(place, one, found[one.text]) for place, one in zip(places, views, strict=True)]

    async def _scrubbed(self, call: Call, prompt: Prompt) -> Prompt | Refusal:
        with call.timed(self.name):
            found: list[Scanned] = await call.finished(self.name)
        views = [one for _, one, _ in found]
        kept = chosen([one.text for one in views], [spans for _, _, spans in found], self._wanted(call))
        if self._public(prompt, views, kept):
            kept = [[span for span in spans if span.type not in NAMES] for spans in kept]
        types = Counter(span.type for spans in kept for span in spans)
        mode = call.who.safety.personal or self._settings.mode
        call.decisions.scrub = ScrubDecision(types, mode if types else None)
        if not types:
            return prompt
        if mode == "block":
            return Refusal(self.name, errors.personal_data(types))
        call.vault, hidden = self._hidden(call, mode, views, kept)
        new = dict(zip((place for place, _, _ in found), hidden, strict=True))
        if self._guard_links and foreign(prompt.messages):
            call.vault.guard(KnownLinks(hidden))
        made = replaced(prompt, _identified(call.vault, new))
        return replace(made, params=widened(made.params, tuple(call.vault.originals)))

    def _public(self, prompt: Prompt, views: Sequence[View], kept: Sequence[Sequence[Span]]) -> bool:
        """Whether the names of this conversation stay as they are."""
        if self._settings.names != "private":
            return self._settings.names == "never"
        named = [one.raw for one, spans in zip(views, kept, strict=True) if any(span.type in NAMES for span in spans)]
        return bool(named) and public(prompt.messages, named, {span.type for spans in kept for span in spans})

    def _hidden(
        self, call: Call, mode: Hiding, views: Sequence[View], kept: Sequence[Sequence[Span]]
    ) -> tuple[Vault, list[str]]:
        """The call's vault, and every string as the engine may see it."""
        texts = [one.text for one in views]
        vault = self._vault(call, mode, texts)
        vault.reserve(texts, {span.type for spans in kept for span in spans})
        hidden = [one.hidden(spans, vault.name) for one, spans in zip(views, kept, strict=True)]
        read = [vault.hide(text, spans) for text, spans in zip(texts, kept, strict=True)]
        if mode == "synthetic" and not _comes_back(vault, read, texts):
            # Stand-ins that run into other text cannot be told from it; placeholders always can.
            return self._hidden(call, "placeholder", views, kept)
        return vault, hidden

    def _vault(self, call: Call, mode: Hiding, texts: Sequence[str]) -> Vault:
        if mode == "redact":
            return Vault(Redacted())
        if mode == "hash":
            return Vault(Hashed(self._key, call.who.tenant))
        return Vault(Surrogates(self._key, call.who.tenant, texts) if mode == "synthetic" else None)

    def _places(self, prompt: Prompt) -> tuple[list[Place], list[Place]]:
        params = prompt.params
        if not self._settings.tools:
            params = {name: value for name, value in params.items() if name not in FORMS}
        return said(prompt), strings(params)

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


def _identified(vault: Vault, new: Mapping[Place, str]) -> dict[Place, str]:
    """The same replacements, those of identifiers spelt as identifiers are."""
    named = frozenset(place.text for place in new if place.kind in IDENTIFIERS)
    return {place: _spelt(vault, place, hidden, named) for place, hidden in new.items()}


def _spelt(vault: Vault, place: Place, hidden: str, named: frozenset[str]) -> str:
    if hidden == place.text or place.kind not in IDENTIFIERS:
        return hidden
    return vault.identify(place.text, hidden, named)
