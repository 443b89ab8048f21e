"""Let a call in: reserve its worst case against rate limits and budget, atomically.  [admit] -> scrub.

Reads Prompt; yields Prompt or Refusal. The key itself was checked before the body was read (app/http/auth.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import aclosing
from decimal import Decimal

from app import errors
from app.call import Call
from app.config import Admit as Settings
from app.events import Prompt, Refusal
from app.ports import Denied, Ledger
from app.rules.pricing import worst_case
from app.rules.routing import Menu
from app.stage import Events

OVERHEAD_A_MESSAGE = 12
"""Tokens that a chat template may add around a message, at most, for the families in use."""


class Admit:
    """`count`: text -> tokens. `menu`: which tiers a call may be billed as, and their prices."""

    name = "admit"

    def __init__(self, ledger: Ledger, settings: Settings, count: Callable[[str], int], menu: Menu) -> None:
        self._ledger = ledger
        self._settings = settings
        self._count = count
        self._menu = menu

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt) and (refusal := await self._reserve(call, event)):
                    yield refusal
                    return
                yield event

    async def _reserve(self, call: Call, prompt: Prompt) -> Refusal | None:
        call.prompt_tokens_low = sum(map(self._count, prompt.texts))
        call.prompt_tokens_high = call.prompt_tokens_low + OVERHEAD_A_MESSAGE * (len(prompt.messages) + 2)
        asked = prompt.params.get("max_completion_tokens") or prompt.params.get("max_tokens")
        call.max_completion = int(asked or self._settings.max_completion_tokens)
        call.model, call.choices = prompt.model, prompt.choices
        completion = call.max_completion * prompt.choices
        prices = [self._menu.prices[tier] for tier in self._menu.tiers_of(prompt.model)]
        worst = [worst_case(price, call.prompt_tokens_high, completion) for price in prices]
        cost = max(worst, default=Decimal(0))
        answer = await self._ledger.reserve(call.who, call.id, call.prompt_tokens_high + completion, cost)
        call.windows = answer.windows
        if not isinstance(answer, Denied):
            call.reservation = answer
            return None
        call.note(self.name, denied=answer.reason)
        if answer.reason == "budget":
            return Refusal(self.name, errors.quota_exceeded())
        return Refusal(self.name, errors.rate_limited(f"{answer.reason} per minute", math.ceil(answer.retry_after)))
