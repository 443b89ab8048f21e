"""What an answer has said so far, and how the rest of it is asked for when its engine is lost: pure bookkeeping.

An answer consists of one or more parts, each by one engine: the first by the one that was asked, each later one the
rest of a single choice by another. Its caller sees, and is billed for, one answer.
"""

from __future__ import annotations

import math
from dataclasses import replace

from app.core.events import Message, Prompt, Token, Usage
from app.core.ports import Generation

CANNOT_RESUME = "cannot_resume"
"""The code of an engine's (retryable) error when it is asked to go on with an answer and does not know how."""


class PartialAnswer:
    """usage: of all parts together. The prompt counts once: what a later part reads again is not the caller's."""

    def __init__(self, prompt: Prompt) -> None:
        self.usage = Usage()
        self.begun = False
        self._prompt = prompt
        self._said: dict[int, list[str]] = {choice: [] for choice in range(prompt.choices)}
        self._left = set(self._said)
        self._before = Usage()
        self._choice: int | None = None
        self._spent = 0
        self._thought = False

    @property
    def unfinished(self) -> list[int]:
        """The choices whose end has not come."""
        return sorted(self._left)

    @property
    def obstacle(self) -> str:
        """What of the answer another engine cannot go on with in the middle; empty when it can."""
        params = self._prompt.params
        if self._thought:
            return "reasoning"
        if params.get("tools") and params.get("tool_choice") != "none":
            return "tools"
        if (params.get("response_format") or {}).get("type", "text") != "text":
            return "response_format"
        if params.get("structured_outputs"):
            return "structured_outputs"
        return "logprobs" if params.get("logprobs") is not None and params["logprobs"] is not False else ""

    def part(self, choice: int | None) -> None:
        """A new part begins: of one choice's rest, or, with None, of the whole answer."""
        self._before, self._choice = self.usage, choice
        self._spent = 0 if choice is None else self.spent(choice)

    def took(self, piece: Token | Usage) -> Token | Usage:
        """A piece of the current part as a piece of the whole answer."""
        if isinstance(piece, Usage):
            self.usage = self._counted(piece)
            return self.usage
        token = piece if self._choice is None else replace(piece, choice=self._choice)
        self.begun = True
        if token.choice in self._left:
            self._thought = self._thought or token.reasoning
            self._said[token.choice].append("" if token.reasoning else token.text)
            if token.finish_reason:
                self._left.discard(token.choice)
        return token

    def _counted(self, usage: Usage) -> Usage:
        before = self._before
        if self._choice is None:
            return usage
        # An upstream counts the prompt only at its end: lost, it has said nothing of it.
        prompt = before.prompt or max(0, usage.prompt - self._spent)
        completion, reasoning = before.completion + usage.completion, before.reasoning + usage.reasoning
        return Usage(prompt, completion, before.cached, reasoning, estimated=before.estimated or usage.estimated)

    def spent(self, choice: int) -> int:
        """The tokens of a choice so far. Of several choices, its share by length: engines count them together."""
        lengths = {one: sum(map(len, said)) for one, said in self._said.items()}
        whole = sum(lengths.values())
        return math.ceil(self.usage.completion * lengths[choice] / whole) if whole else 0

    def rest(self, request: Generation, choice: int) -> Generation:
        """The request for the whole answer as one for the rest of a choice."""
        params = {name: value for name, value in request.params.items() if name != "n"}
        params["max_tokens"] -= self.spent(choice)
        said = "".join(self._said[choice])
        if not said:
            return replace(request, params=params)
        *first, last = request.messages
        goes_on = request.raw or request.resume
        more = [replace(last, text=last.text + said)] if goes_on else [last, Message("assistant", said)]
        return replace(request, params=params, messages=(*first, *more), resume=True)
