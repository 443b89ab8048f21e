"""Answer from the semantic cache what was answered before.  guard -> [recall] -> route.

Reads Prompt; yields the stored Tokens in its place, or the Prompt. A hit needs the same identity (tenant and
the whole request except the last question's wording) and a question at or above the threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import orjson

from app.call import Call
from app.config import Recall as Settings
from app.events import Prompt, Token, Usage
from app.ports import Encoder, Hit, Index
from app.stage import Events

NEVER_CACHED = ("logprobs", "top_logprobs", "tools", "functions")
"""Requests with these ask for more than a text; only the engine can give it."""
NOT_IDENTITY = frozenset({"user", "safety_identifier", "metadata", "stream", "stream_options", "store"})
"""Fields that do not change the answer."""


class Recall:
    """Looks the question up. Leaves `call.partition` set where the answer may be remembered."""

    name = "recall"

    def __init__(self, encoder: Encoder, index: Index, settings: Settings) -> None:
        self._encoder = encoder
        self._index = index
        self._settings = settings

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Embed the raw question early; it is embedded again only if the scrubber changes it."""
        if cacheable(prompt) and (call.read_cache or call.write_cache):
            call.begin_embed(self._encoder, prompt.question)

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                hit = await self._lookup(call, event) if isinstance(event, Prompt) else None
                if hit is None:
                    yield event
                    continue
                call.hit = True
                call.tier = hit.entry["tier"]
                call.usage = Usage(prompt=hit.entry["prompt"], completion=hit.entry["completion"])
                for answer in hit.entry["answers"]:
                    reason, stop = answer["finish_reason"], answer.get("stop")
                    yield Token(answer["text"], answer["choice"], finish_reason=reason, stop=stop)
                yield call.usage

    async def _lookup(self, call: Call, prompt: Prompt) -> Hit | None:
        if not cacheable(prompt):
            call.note(self.name, result="bypass")
            return None
        call.partition, call.question = identity(call, prompt), prompt.question
        if not call.read_cache:
            call.note(self.name, result="bypass")
            return None
        with call.timed(self.name):
            vector = await call.embed(self._encoder, prompt.question)
            hit = await self._index.lookup(call.partition, vector, self._settings.threshold)
        if hit is None:
            call.note(self.name, result="miss")
        else:
            call.note(self.name, result="hit", score=round(hit.score, 4))
        return hit


def cacheable(prompt: Prompt) -> bool:
    """Whether an answer to this prompt may come from, or go to, the cache."""
    # A continuation fits only the very text that it continues.
    return bool(prompt.question) and not prompt.raw and not any(prompt.params.get(name) for name in NEVER_CACHED)


def identity(call: Call, prompt: Prompt) -> str:
    """The partition: a hash of everything that must agree exactly. The tenant stands first, in the clear."""
    last = max(i for i, message in enumerate(prompt.messages) if message.role == "user")
    messages = [{**m.wire(), "content": None if i == last else m.text} for i, m in enumerate(prompt.messages)]
    params: Mapping[str, Any] = {k: v for k, v in prompt.params.items() if k not in NOT_IDENTITY}
    whole = [prompt.model, messages, params, call.vault.shape]
    return f"{call.who.tenant}/{hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()}"
