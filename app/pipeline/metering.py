"""What a call used of an engine, by the engine's word or by our own count.  generate -> [Meter] -> settle.

A prompt is billed from the moment that an engine was given it, whoever hangs up when; until the engine tells what it
counted, our own count stands in its place. No count leaves its bounds, and no call costs more than was reserved for it.
"""

from __future__ import annotations

from collections.abc import Callable

from app.billing.bounds import MAX_BYTES_A_TOKEN, Bounds, affordable, closest
from app.core.call import Call
from app.core.events import Prompt, Token, Usage
from app.core.ports import REPLICA_LOST, EngineError
from app.engines.resume import PartialAnswer
from app.routing.catalog import ModelCatalog


class Meter:
    """One call's. Keeps `call.usage`, what is billed; `call.told`, what the engine counted; `call.lost`."""

    def __init__(self, call: Call, prompt: Prompt, catalog: ModelCatalog, count: Callable[[str], int]) -> None:
        self._call = call
        self._catalog = catalog
        self._count = count
        self._least = max(1, sum(map(len, prompt.texts)) // MAX_BYTES_A_TOKEN)
        self._own = max(self._least, call.prompt_tokens_low)
        self._told = Usage(estimated=True)
        self._said: list[str] = []  # only while nothing is told of it
        self._length = self._pieces = 0
        self._anything = self._cut_short = False

    @property
    def usage(self) -> Usage:
        """What is billed by now."""
        return self._call.usage

    def given(self) -> None:
        """An engine is given the prompt."""
        if not self._anything:
            self._told = Usage(estimated=True)
            self._settle()

    def counted(self, usage: Usage) -> None:
        """The engine's count by now, of all that it was given and said."""
        self._told = usage
        if not usage.estimated:
            self._said.clear()
        self._settle()

    def said(self, token: Token) -> None:
        """The next piece of the answer."""
        said = token.said
        self._anything = self._anything or bool(said or token.tool or token.logprobs)
        self._cut_short = self._cut_short or token.finish_reason == "length"
        if not said:
            return
        self._length += len(said)
        self._pieces += 1
        if self._told.estimated:
            self._said.append(said)
            if self._told.completion < self._pieces:
                self.counted(Usage(self._told.prompt, self._pieces, self._told.cached, estimated=True))

    def abandoned(self, pool: str, error: EngineError) -> None:
        """The engine is given up; the call goes on without it, or ends. What it did for nothing is lost on us."""
        worked = error.worked or error.code in (REPLICA_LOST, "timeout")
        if self._anything:
            return
        if worked:
            self._call.lost.append((pool, self._call.usage))
        self._told = self._call.usage = Usage()

    def again(self, pool: str) -> None:
        """Another engine reads the prompt to go on with the answer: the caller pays for one reading."""
        self._call.lost.append((pool, Usage(self._call.usage.prompt)))

    def close(self, *, whole: bool) -> None:
        """Nothing more comes: count what was not told, and cut what was not reserved. whole: the answer is."""
        call = self._call
        if not call.usage.prompt:
            return
        if self._told.estimated and self._said:
            counted = self._count("".join(self._said))
            self._told = Usage(self._told.prompt, closest(self._pieces, counted), self._told.cached, estimated=True)
            self._settle()
        call.empty = whole and not self._anything and not self._cut_short
        if call.reservation is None:
            return
        model_id = self._catalog.model_ids.get(call.pool or "")
        price = self._catalog.prices.price(call.who.price_list, call.tier, model_id)
        paid = affordable(call.usage, price, call.reservation.cost, batch=call.batch)
        if paid != call.usage:
            call.told, call.usage, call.cut = call.told or call.usage, paid, True

    def _settle(self) -> None:
        """Bring what is billed up to date."""
        call = self._call
        bounds = Bounds(self._least, self._catalog.context.get(call.pool or "", 0), call.max_completion * call.choices)
        call.usage = bounds.believed(self._told, self._own, self._length // MAX_BYTES_A_TOKEN)
        over = call.usage.prompt < self._told.prompt or call.usage.completion < self._told.completion
        call.cut = over and not self._told.estimated


class MeteredAnswer(PartialAnswer):
    """An answer of which every piece passes the meter."""

    def __init__(self, prompt: Prompt, meter: Meter) -> None:
        super().__init__(prompt)
        self.meter = meter

    def took(self, piece: Token | Usage) -> Token | Usage:
        """As PartialAnswer; Usage is what is billed by now."""
        whole = super().took(piece)
        if isinstance(whole, Usage):
            self.meter.counted(whole)
            return self.meter.usage
        self.meter.said(whole)
        return whole
