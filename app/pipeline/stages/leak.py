"""See to it that the system prompt does not come back in the answer.  moderate -> [leak] -> remember.

Reads Token; yields Token, or Refusal(content_filter) for a choice that repeats its instructions, where the tenant wants
that. Nothing is held back: a run is stopped at its last character. It stands before the originals are put back, so that
instructions and answer have the same placeholders.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import cache

from app.config.policy import Leak as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import LeakDecision
from app.core.events import Prompt, Refusal, Token
from app.core.ports import Action
from app.core.stage import Events
from app.pipeline.assembly import Assembly
from app.pipeline.stages.tools import tool_names
from app.safety.leaks import LeakWatcher, folded, secrets
from app.safety.spoken import Part, spoken

REPEATED = frozenset({"user", "tool", "function"})
"""Roles whose words an answer may repeat, also where the instructions hold the same."""


class Confide:
    """Keeps messages and tools' names as the engine sees them, for Tools and Leak.  guard -> [confide] -> recall."""

    name = "confide"

    @classmethod
    def of(cls, _: Assembly) -> Confide:
        return cls()

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt):
                    call.seen = event.messages
                    call.tools = frozenset(tool_names(event.params))
                yield event


class Leak:
    """Watches each choice's text, each of its tool calls, and every other string of it, each by itself."""

    name = "leak"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @classmethod
    def of(cls, parts: Assembly) -> Leak:
        return cls(parts.policy.guard.leak)

    async def __call__(self, call: Call, events: Events) -> Events:
        watch: Watching | None = None
        blocked: set[int] = set()
        ended: set[int] = set()
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Token | Refusal) and event.choice in blocked:
                    continue
                told = event
                if isinstance(event, Token):
                    watch = watch or Watching(call, self._settings.run)
                    if watch.leaks(event) and self._found(call) == "block":
                        blocked.add(event.choice)
                        told = Refusal(self.name, errors.prompt_leak(), event.choice)
                yield told
                if isinstance(told, Refusal) or (isinstance(told, Token) and told.finish_reason):
                    ended.add(told.choice or 0)
                if blocked and len(ended) >= call.choices:
                    return  # closing what is read stops the engine

    def _found(self, call: Call) -> Action:
        action = call.who.safety.leak or self._settings.action
        call.decisions.leak = LeakDecision(action)
        return action


class Watching:
    """A call's instructions, and what was said of them so far. Costs nothing where there are none."""

    def __init__(self, call: Call, run: int) -> None:
        self._secrets = secrets((message.text for message in call.seen if message.role == "system"), run)
        self._allowed = cache(lambda: " ".join(folded(m.text) for m in call.seen if m.role in REPEATED))
        self._known = call.tools
        self._watches: dict[tuple[int, Part], LeakWatcher] = {}

    def leaks(self, token: Token) -> bool:
        """Whether this Token completes a run."""
        if not self._secrets:
            return False
        said = spoken(token, self._known)
        leaks = [self._watch(token.choice, part).leaks(text) for part, text in said]  # every one takes it in
        return any(leaks)

    def _watch(self, choice: int, part: Part) -> LeakWatcher:
        if (choice, part) not in self._watches:
            self._watches[choice, part] = LeakWatcher(self._secrets, self._allowed)
        return self._watches[choice, part]
