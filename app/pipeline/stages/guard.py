"""Find prompts that try to override the system prompt.  scrub -> [guard] -> recall.

Reads Prompt; yields Prompt or Refusal. What a finding does is the tenant's choice (`safety.injection`), or the
installation's (`guard.action`). In mode `alongside` the Prompt goes on at once, and the Gate, which stands after the
engine, holds the first Token back until the verdict.
"""

from __future__ import annotations

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

outside = whole
"""What the moderator judges of a prompt, too."""


class Guard:
    """Scores each outside message by itself, so that a long harmless history cannot dilute the last one."""

    name = "guard"

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self._classifier = classifier
        self._settings = settings
        self._known: Recent[Scores] = Recent(4096)  # an application sends its tools with every call

    @classmethod
    def of(cls, parts: Assembly) -> Guard:
        return cls(parts.ports.guard, parts.policy.guard)

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Score the raw text while the scrubber works: it stays in this process and its replicas."""
        tools = [] if self._settings.tools == "ignore" else wordings(prompt.params)
        call.start(self.name, self._score(pieces(prompt), tools))

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
            said, tools = await call.finished(self.name)
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
        return Refusal(self.name, errors.injection(label)) if made.refused else None

    async def _score(self, texts: Sequence[str], tools: Sequence[str]) -> tuple[list[Scores], list[Scores]]:
        """Of the messages' pieces, and of the tools."""
        known: dict[str, Scores] = {tool: self._known[tool] for tool in tools if tool in self._known}
        new = [tool for tool in dict.fromkeys(tools) if tool not in known]
        scored = await self._classifier.score([*texts, *new])
        for tool, scores in zip(new, scored[len(texts) :], strict=True):
            known[tool] = self._known[tool] = scores
        return tempered(texts, scored[: len(texts)]), list(known.values())


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
