"""Ask a model that is no engine about every message: its vector, or its scores.  admit -> [consult] -> settle.

Reads Prompt; yields Usage and Judged, or Refusal, or Failure. Texts go as they came, unscrubbed: encoder and moderator
are this installation's own, and no text comes back from them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.core import errors
from app.core.call import Call
from app.core.decisions import ConsultDecision
from app.core.errors import ApiError
from app.core.events import Failure, Judged, Prompt, Refusal, Usage
from app.core.ports import Classifier, Encoder, Vector
from app.core.stage import Events

Ask = Callable[[Prompt, Sequence[str]], Awaitable[Sequence[Any]]]
AT_ONCE = 32
"""Texts in one pass: between two passes the model is free for the calls that wait for it."""
LONGEST, MOST = 8192, 300_000
"""Tokens of one text, and of all of one call's: OpenAI's limits."""


@dataclass(slots=True)
class Consult:
    """`ask`: the texts' results, in their order; it may raise ApiError. count: text -> tokens, which are billed.

    tier, pool: what the call is billed as, and who answers. patience: seconds, as the deadline's error says them.
    """

    name: str
    ask: Ask
    count: Callable[[str], int]
    tier: str
    pool: str
    patience: float

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Prompt):
                    yield event
                    continue
                async with aclosing(self._judge(call, event)) as judging:
                    async for result in judging:
                        yield result

    async def _judge(self, call: Call, prompt: Prompt) -> Events:
        call.tier, call.pool = self.tier, self.pool
        counts = [max(1, self.count(text)) for text in prompt.texts]
        made = ConsultDecision(len(counts))
        if self.name == "embed":
            call.decisions.embed = made
        else:
            call.decisions.classify = made
        if too_long := _too_long(counts):
            yield Refusal(self.name, too_long)
            return
        results: list[Any] = []
        for at in range(0, len(counts), AT_ONCE):
            try:
                with call.timed(self.name):
                    async with asyncio.timeout(max(0.0, call.remaining)):
                        results += await self.ask(prompt, prompt.texts[at : at + AT_ONCE])
            except TimeoutError:
                yield Failure(errors.timed_out(self.patience))
                return
            except ApiError as error:
                yield Refusal(self.name, error)
                return
            call.usage = Usage(prompt=sum(counts[: at + AT_ONCE]))
            yield call.usage
        yield Judged(results)


def embedding(encoder: Encoder) -> Ask:
    """Each text's vector, cut to the prompt's `dimensions` and scaled back to unit length."""

    async def ask(prompt: Prompt, texts: Sequence[str]) -> Sequence[Vector]:
        rows = await encoder.encode(texts)
        wanted = prompt.params.get("dimensions")
        if wanted is None:
            return list(rows)
        if wanted > rows.shape[1]:
            raise errors.too_many_dimensions(rows.shape[1])
        cut = rows[:, :wanted]
        lengths = np.linalg.norm(cut, axis=1, keepdims=True)
        return list((cut / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32))

    return ask


def classifying(classifier: Classifier) -> Ask:
    """Each text's labels' scores."""

    async def ask(_: Prompt, texts: Sequence[str]) -> Sequence[dict[str, float]]:
        return await classifier.score(texts)

    return ask


def _too_long(counts: Sequence[int]) -> ApiError | None:
    if max(counts, default=0) > LONGEST:
        return replace(errors.context_length(LONGEST, max(counts)), param="input")
    if sum(counts) > MOST:
        message = f"All inputs together have {sum(counts)} tokens; at most {MOST} are taken. Send fewer at once."
        return errors.bad_request(message, "input", "invalid_value")
    return None
