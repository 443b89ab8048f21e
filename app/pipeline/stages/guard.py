"""Find prompts that try to override the system prompt.  scrub -> [guard] -> recall.

Reads Prompt; yields Prompt or Refusal. What a finding does is the tenant's choice (`safety.injection`), or the
installation's (`guard.action`). In mode `alongside` the Prompt goes on at once, and the Gate, which stands after the
engine, holds the first Token back until the verdict.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from app.config import Guard as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import GuardDecision
from app.core.events import Prompt, Refusal, Token
from app.core.lru import Recent
from app.core.places import wordings
from app.core.ports import Classifier
from app.core.stage import Events
from app.pipeline.assembly import Assembly
from app.safety.segment import UNREADABLE
from app.safety.untrusted import pieces, whole
from app.safety.verdict import tempered

Scores = Mapping[str, float]
KNOWN = 16_384
"""Texts whose verdicts are remembered, of all tenants together."""
KEY = secrets.token_bytes(32)
"""Of this process: what is remembered tells nobody else what was said."""
REPEATED = "guard.repeated"
"""The stage that a refusal names for a text that was refused before: it is no further strike."""

outside = whole
"""What the moderator judges of a prompt, too."""


class Guard:
    """Scores each outside message by itself, so that a long harmless history cannot dilute the last one."""

    name = "guard"

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self._classifier = classifier
        self._settings = settings
        self._known: Recent[Scores] = Recent(KNOWN)
        self._struck: Recent[bool] = Recent(KNOWN)

    @classmethod
    def of(cls, parts: Assembly) -> Guard:
        return cls(parts.ports.guard, parts.policy.guard)

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Score the raw text while the scrubber works: it stays in this process and its replicas."""
        tools = [] if self._settings.tools == "ignore" else wordings(prompt.params)
        call.start(self.name, self._score(call.who.tenant, pieces(prompt), tools))

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                before = isinstance(event, Prompt) and self._settings.mode == "before"
                if before and (refusal := await self.verdict(call)):
                    yield refusal
                    return
                yield event

    async def verdict(self, call: Call) -> Refusal | None:
        """The Refusal when anything from outside scores at or above the threshold and the tenant wants it refused."""
        with call.timed(self.name):
            texts, said, tools = await call.finished(self.name)
        safety, threshold = call.who.safety, self._settings.threshold
        if safety.injection_threshold is not None:
            threshold = safety.injection_threshold
        action = safety.injection or self._settings.action
        label, score = _highest(said)
        where = None
        if score < threshold and tools:
            others, highest = _highest(tools)
            if highest >= threshold:
                label, score, where = others, highest, "tools"
                action = action if self._settings.tools == "judge" else "flag"
        if score < threshold and (unread := _unread(said)) >= self._settings.unreadable.threshold:
            label, score, where, threshold = UNREADABLE, unread, None, self._settings.unreadable.threshold
            action = self._settings.unreadable.action
        made = GuardDecision(label, score, action if score >= threshold else None, where)
        call.decisions.guard = made
        if not made.refused:
            return None
        found = {text for text, scores in zip(texts, said, strict=True) if scores.get(label, 0.0) >= threshold}
        return Refusal(REPEATED if self._again(found) else self.name, errors.injection(label))

    def _again(self, found: set[str]) -> bool:
        """Whether every text for which this call is refused was a strike before: a client that sends the same request
        again, or with it in its history, is no second attack.
        """
        before = bool(found) and all(text in self._struck for text in found)
        for text in found:
            self._struck[text] = True
        return before

    async def _score(
        self, tenant: str, texts: Sequence[str], tools: Sequence[str]
    ) -> tuple[list[str], list[Scores], list[Scores]]:
        """Of the messages' pieces, with their digests, and of the tools. What was scored in an earlier call of the same
        conversation or application is not scored again.
        """
        named = {_digest(tenant, text): text for text in (*texts, *tools)}
        known: dict[str, Scores] = {name: self._known[name] for name in named if name in self._known}
        new = [name for name in named if name not in known]
        scored = await self._classifier.score([named[name] for name in new]) if new else []
        for name, scores in zip(new, scored, strict=True):
            known[name] = self._known[name] = scores
        said, others = ([_digest(tenant, text) for text in some] for some in (texts, tools))
        return said, tempered(texts, [known[name] for name in said]), [known[name] for name in others]


def _digest(tenant: str, text: str) -> str:
    """What a text of a tenant is remembered by: the text itself is not kept."""
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), key=KEY, person=b"guard", salt=_salt(tenant)
    ).hexdigest()


def _salt(tenant: str) -> bytes:
    return hashlib.sha256(tenant.encode()).digest()[:16]


def _highest(scored: Sequence[Scores]) -> tuple[str, float]:
    every = ((label, score) for scores in scored for label, score in scores.items() if label != UNREADABLE)
    return max(every, key=lambda pair: pair[1], default=("none", 0.0))


def _unread(scored: Sequence[Scores]) -> float:
    """The largest share of a text that could not be read."""
    return max((scores.get(UNREADABLE, 0.0) for scores in scored), default=0.0)


class Gate:
    """Stands after generate when the guard runs alongside: no Token passes before the verdict."""

    name = "gate"

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    @classmethod
    def of(cls, parts: Assembly) -> Gate:
        guard = parts.stages[Guard.name]
        assert isinstance(guard, Guard)  # noqa: S101 - it stands before the engine
        return cls(guard)

    async def __call__(self, call: Call, events: Events) -> Events:
        open_ = False
        async with aclosing(events):
            async for event in events:
                if not open_ and isinstance(event, Token):
                    if refusal := await self._guard.verdict(call):
                        yield refusal
                        return
                    open_ = True
                yield event
