"""Let a call in: its terms, then its worst case against rate limits and budgets, atomically.  [admit] -> scrub.

Reads Prompt; yields Prompt or Refusal. The key itself was checked before the body was read (app/api/auth.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from app.billing.bounds import MAX_BYTES_A_TOKEN
from app.billing.pricing import worst_case
from app.config import Admit as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import AdmitDecision
from app.core.errors import ApiError
from app.core.events import Prompt, Refusal
from app.core.ports import Denied, Ledger
from app.core.prompt_size import overhead, read_texts
from app.core.stage import Events
from app.pipeline.assembly import Assembly
from app.routing.catalog import ModelCatalog

COUNTED_AT_ONCE = 50_000
"""Characters that are counted in the event loop: some ten milliseconds."""


class Admit:
    """`count`: text -> tokens. `catalog`: which tiers a call may be billed as, and their prices."""

    name = "admit"

    def __init__(self, ledger: Ledger, settings: Settings, count: Callable[[str], int], catalog: ModelCatalog) -> None:
        self._ledger = ledger
        self._settings = settings
        self._count = count
        self._catalog = catalog

    @classmethod
    def of(cls, parts: Assembly) -> Admit:
        return cls(parts.ports.ledger, parts.policy.admit, parts.ports.count, parts.catalog)

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt) and (error := await self._admit(call, event)):
                    yield Refusal(self.name, error)
                    return
                yield _lowered(call, event) if isinstance(event, Prompt) and call.clamped else event

    async def _admit(self, call: Call, prompt: Prompt) -> ApiError | None:
        longest_context = self._longest(prompt)
        if longest_context and (least := least_tokens(prompt)) > longest_context:
            return self._deny(call, "context_length", errors.context_length(longest_context, least))
        texts = read_texts(prompt)
        counts = await self._counted(texts)
        call.prompt_chars = sum(map(len, texts))
        call.prompt_tokens_low = sum(counts)
        call.prompt_tokens_high = call.prompt_tokens_low + overhead(prompt, counts)
        call.model, call.choices = prompt.model, prompt.choices
        asked = prompt.params.get("max_completion_tokens") or prompt.params.get("max_tokens")
        cap = call.who.max_output_tokens or self._settings.max_completion_tokens
        if prompt.task == "generate":
            call.max_completion = int(asked or min(cap, self._settings.max_completion_tokens))
        if prompt.clamps and asked:
            most = [asked, call.who.max_output_tokens, longest_context and max(1, longest_context - sum(counts))]
            call.max_completion = min(filter(None, most))
            call.clamped = call.max_completion if call.max_completion < asked else None
        longest = call.prompt_tokens_low if prompt.task == "generate" else max(counts, default=0)
        asked_by = "max_tokens" if "max_tokens" in prompt.params else "max_completion_tokens"
        return self._terms(call, longest, asked_by) or await self._reserve(call)

    def _longest(self, prompt: Prompt) -> int:
        """Tokens that the largest pool holds which may answer; 0: no pool does (an encoder, a moderator)."""
        if prompt.task != "generate":
            return 0
        pools = {pool for tier in self._catalog.tiers_of(prompt.model).values() for pool in tier.pools}
        return max((self._catalog.context[pool] for pool in pools if pool in self._catalog.context), default=0)

    async def _counted(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each. Much text is counted in a thread: streams of other calls go on meanwhile."""
        if sum(map(len, texts)) <= COUNTED_AT_ONCE:
            return [self._count(text) for text in texts]
        return await asyncio.to_thread(lambda: [self._count(text) for text in texts])

    def _terms(self, call: Call, longest: int, asked_by: str) -> ApiError | None:
        """What the key may not ask for at all. longest: tokens that one model reads at once. asked_by: the field by
        which the caller limits the answer.
        """
        who = call.who
        if who.models is not None and call.model not in who.models:
            return self._deny(call, "model", errors.model_not_allowed(call.model, who.models))
        if who.max_output_tokens and call.max_completion > who.max_output_tokens:
            return self._deny(call, "max_output_tokens", errors.too_many_tokens(who.max_output_tokens, asked_by))
        if who.context_length and longest > who.context_length:
            too_long = errors.context_length(who.context_length, longest)
            return self._deny(call, "context_length", too_long)
        return None

    async def _reserve(self, call: Call) -> ApiError | None:
        tiers = self._catalog.tiers_of(call.model)
        completion = call.max_completion * call.choices
        prices = self._catalog.prices.worst(call.who.price_list, tiers)
        worst = [worst_case(price, call.prompt_tokens_high, completion, batch=call.batch) for price in prices]
        tokens = call.prompt_tokens_high + completion
        names = frozenset({call.model} if call.model == "auto" else {call.model, *tiers})
        with call.timed(self.name):
            answer = await self._ledger.reserve(call.who, call.id, tokens, max(worst, default=Decimal(0)), names)
        call.windows = answer.windows
        if isinstance(answer, Denied):
            return self._deny(call, answer.reason, denied(answer, tokens))
        call.reservation = answer
        return None

    def _deny(self, call: Call, why: str, error: ApiError) -> ApiError:
        call.decisions.admit = AdmitDecision(why)
        return error


def _lowered(call: Call, prompt: Prompt) -> Prompt:
    """The prompt with the `max_tokens` that the call may have."""
    names = ("max_tokens", "max_completion_tokens")
    return replace(
        prompt, params={name: call.clamped if name in names else value for name, value in prompt.params.items()}
    )


def denied(answer: Denied, tokens: int) -> ApiError:
    """The client's error for the ledger's no. tokens: what the call asked for."""
    if answer.reason == "budget":
        whose = answer.owner.partition(":")[0] or "tenant"
        if answer.retry_after <= 0:
            return errors.quota_exceeded(whose)
        held = f"the budget of this {whose}, which other calls on their way hold"
        return errors.rate_limited(held, math.ceil(answer.retry_after))
    limit = answer.limit
    if limit is None:  # a reservation that expired: the call is far past its deadline
        return errors.overloaded()
    whose = limit.owner.partition(":")[0] + (f" and `{limit.model}`" if limit.model != "*" else "")
    if limit.kind == "concurrent":
        return errors.rate_limited(f"concurrent requests of this {whose} (limit {limit.amount})", 1)
    what = f"{limit.kind} per {limit.per} of this {whose}"
    if answer.retry_after <= 0:
        return errors.too_large_for_limit(what, limit.amount, tokens)
    why = f"; {limit.why}" if limit.why else ""
    return errors.rate_limited(f"{what} (limit {limit.amount}{why})", math.ceil(answer.retry_after))


def least_tokens(prompt: Prompt) -> int:
    """How many tokens the prompt has at least, by its bytes alone: linear, and without a tokenizer."""
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in read_texts(prompt)) // MAX_BYTES_A_TOKEN
