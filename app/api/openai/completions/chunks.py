"""OpenAI's text completion objects, from calls and their events.  answer, batches -> [shapes]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from app.api.answer import Choice, usage_body
from app.core.call import Call
from app.core.events import Refusal, Token, Usage
from app.core.stage import Events

_COUNTS = ("prompt", "completion", "cached", "reasoning")


@dataclass(slots=True)
class ChoicePart:
    """One prompt's call. echo: what each of its texts begins with. first: the index of its first choice."""

    call: Call
    events: Events
    echo: str = ""
    first: int = 0
    choices: dict[int, Choice] = field(default_factory=dict)


class Pieces:
    """One call's events as the choices of chunks."""

    def __init__(self, part: ChoicePart) -> None:
        self._part = part
        self._offsets: dict[int, int] = {}

    def tells(self, event: Token | Refusal) -> bool:
        """Whether there is anything to say of it."""
        if isinstance(event, Refusal):
            return True
        if event.reasoning:
            return False  # this API has no place for it
        echo = self._part.echo if event.choice not in self._offsets else ""
        return bool(echo or event.text or event.logprobs or event.finish_reason)

    def of(self, event: Token | Refusal) -> dict[str, Any]:
        """The choice that the event is about."""
        if isinstance(event, Refusal):
            return _choice(self._part.first + (event.choice or 0), "", None, "content_filter")
        at = self._offsets.get(event.choice)
        echo = self._part.echo if at is None else ""
        self._offsets[event.choice] = (at or 0) + len(echo) + len(event.text)
        logprobs = legacy_logprobs(event.logprobs or (), (at or 0) + len(echo))
        return _choice(self._part.first + event.choice, echo + event.text, logprobs, event.finish_reason)


def head(call: Call, model: str) -> dict[str, Any]:
    """What the answer and each of its chunks begin with."""
    fingerprint = f"fp_{call.pool or 'cache'}"
    fixed = {"id": call.id, "object": "text_completion", "created": int(call.created)}
    return {**fixed, "model": model, "system_fingerprint": fingerprint}


def body(parts: Sequence[ChoicePart], model: str) -> dict[str, Any]:
    """The whole answer."""
    choices = [
        _choice(
            part.first + index,
            part.echo + choice.text,
            legacy_logprobs(choice.logprobs, len(part.echo)),
            choice.finish_reason or "stop",
        )
        for part in parts
        for index, choice in sorted(part.choices.items())
    ]
    return {**head(parts[0].call, model), "choices": choices, "usage": usage_body(used(parts))}


def used(parts: Sequence[ChoicePart]) -> Usage:
    """What all calls used."""
    each = [part.call.usage for part in parts]
    return reduce(lambda a, b: Usage(*(getattr(a, name) + getattr(b, name) for name in _COUNTS)), each, Usage())


def legacy_logprobs(entries: Sequence[Mapping[str, Any]], offset: int) -> dict[str, Any] | None:
    """Chat logprobs in the shape of old. offset: characters before the first token."""
    if not entries:
        return None
    offsets, at = [], offset
    for entry in entries:
        offsets.append(at)
        at += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {one["token"]: one["logprob"] for one in (*entry.get("top_logprobs", ()), entry)} for entry in entries
        ],
        "text_offset": offsets,
    }


def _choice(index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
