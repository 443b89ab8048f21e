"""Refuse prompts that try to override the system prompt.  scrub -> [guard] -> recall.

Reads Prompt; yields Prompt or Refusal. In mode `alongside` the Prompt goes on at once, and the Gate,
which stands after the engine, holds the first Token back until the verdict.
"""

from __future__ import annotations

from contextlib import aclosing

from app import errors
from app.call import Call
from app.config import Guard as Settings
from app.events import Prompt, Refusal, Token
from app.ports import Classifier
from app.stage import Events

JUDGED = frozenset({"user", "tool", "function"})
"""Roles whose text comes from outside. System and assistant turns are the application's own."""


class Guard:
    """Scores each outside message by itself, so that a long harmless history cannot dilute the last one."""

    name = "guard"

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self._classifier = classifier
        self._settings = settings

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Score the raw text while the scrubber works: it stays in this process and its replicas."""
        call.start(self.name, self._classifier.score(outside(prompt)))

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                before = isinstance(event, Prompt) and self._settings.mode == "before"
                if before and (refusal := await self.verdict(call)):
                    yield refusal
                    return
                yield event

    async def verdict(self, call: Call) -> Refusal | None:
        """The Refusal when any outside message scores at or above the threshold."""
        with call.timed(self.name):
            scored: list[dict[str, float]] = await call.finished(self.name)
        label, score = max(
            ((label, score) for scores in scored for label, score in scores.items()),
            key=lambda pair: pair[1],
            default=("none", 0.0),
        )
        refused = score >= self._settings.threshold
        call.note(self.name, label=label, score=round(score, 4), refused=refused)
        return Refusal(self.name, errors.injection(label)) if refused else None


class Gate:
    """Stands after generate when the guard runs alongside: no Token passes before the verdict."""

    name = "gate"

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

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


def outside(prompt: Prompt) -> list[str]:
    """The texts that came from outside the application."""
    return [message.text for message in prompt.messages if message.role in JUDGED and message.text]
