"""Reserve what a prompt has grown by on its way: placeholders and marks may be longer than what they stand for.

route -> [Outgrown] -> the ledger. No engine is sent over a tenth more than was reserved for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from app.billing.pricing import worst_case
from app.core.call import Call
from app.core.events import Prompt
from app.core.ports import Denied, Ledger
from app.core.prompt_size import overhead, read_texts
from app.routing.catalog import ModelCatalog

_MORE = 1.1
_LITTLE = 256
"""Characters by which a prompt may grow without a look at it: a few names."""


class Outgrown:
    """count: text -> tokens."""

    def __init__(self, ledger: Ledger, catalog: ModelCatalog, count: Callable[[str], int]) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._count = count

    async def reserve(self, call: Call, prompt: Prompt) -> Denied | None:
        """Take more for a prompt that has grown; the ledger's no, where there is none to take."""
        texts = read_texts(prompt)
        if call.reservation is None or sum(map(len, texts)) <= _MORE * call.prompt_chars + _LITTLE:
            return None
        counts = await asyncio.to_thread(lambda: [self._count(text) for text in texts])
        high = sum(counts) + overhead(prompt, counts)
        if high <= _MORE * call.prompt_tokens_high:
            return None
        call.prompt_tokens_low, call.prompt_tokens_high = sum(counts), high
        completion, tier = call.max_completion * call.choices, call.tier or ""
        prices = self._catalog.prices.worst(call.who.price_list, [tier])
        cost = max((worst_case(price, high, completion, batch=call.batch) for price in prices), default=Decimal(0))
        names = frozenset({call.model, tier} - {"auto"})
        answer = await self._ledger.narrow(call.who, call.id, high + completion, cost, names)
        if isinstance(answer, Denied):
            return answer
        call.reservation = answer
        return None
