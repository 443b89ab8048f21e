"""What a call costs, under which price list: exact decimal arithmetic, no I/O.

admit reserves `worst_case`, settle bills `charge`; both are whole multiples of 1e-9 of the price list's currency,
so that the ledger can hold money as integers and every sum is exact.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

from app.core.money import NANO

_PER = Decimal(1_000_000)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)  # wide enough that only the last step rounds


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per 1,000,000 tokens. hit: the share of input + output price that a semantic-cache hit costs, 0..1.

    batch: the share of all prices that a call of the batch API costs, above 0 and up to 1.
    """

    input: Decimal
    cached_input: Decimal
    output: Decimal
    hit: Decimal = Decimal("0.1")
    batch: Decimal = Decimal("0.5")

    def __post_init__(self) -> None:
        """Raise ValueError for a price that is negative or no number, or a share out of its bounds."""
        for name in (field.name for field in fields(self)):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value < 0:
                msg = f"price.{name} is {value}: write a number of at least 0"
                raise ValueError(msg)
        if self.hit > 1:
            msg = f"price.hit is {self.hit}: a hit never costs more than a generation, write 0 to 1"
            raise ValueError(msg)
        if not 0 < self.batch <= 1:
            msg = f"price.batch is {self.batch}: a batch never costs more than single calls, write above 0 to 1"
            raise ValueError(msg)


FREE = Price(Decimal(0), Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call costs, by part; each with nine places. cached: the prompt's part from the engine's prefix cache."""

    input: Decimal
    cached: Decimal
    output: Decimal

    @property
    def total(self) -> Decimal:
        """The sum of the parts: what is billed."""
        return self.input + self.cached + self.output


def charge(
    price: Price,
    prompt_tokens: int,
    cached_tokens: int,
    completion_tokens: int,
    *,
    hit: bool = False,
    batch: bool = False,
) -> Charge:
    """Return what a call costs. Its total is the exact cost rounded once, half to even at 1e-9.

    cached_tokens: the part of prompt_tokens that the engine's prefix cache served, at the cached price; more than
    the prompt counts as the whole prompt. hit: a semantic-cache hit, at `price.hit` of the full price.
    Raises ValueError when a count is negative.
    """
    _check(prompt_tokens, cached_tokens, completion_tokens)
    with localcontext(_EXACT):
        share = (price.hit if hit else 1) * (price.batch if batch else Decimal(1))
        cached = 0 if hit else min(cached_tokens, prompt_tokens)
        read = (prompt_tokens - cached) * price.input * share
        reread = read + cached * price.cached_input * share
        whole = reread + completion_tokens * price.output * share
        # Rounding the running sums makes the parts add up to the rounded whole, and keeps each at 0 or above.
        steps = _round(read), _round(reread), _round(whole)
        return Charge(steps[0], steps[1] - steps[0], steps[2] - steps[1])


def cost(
    price: Price,
    prompt_tokens: int,
    cached_tokens: int,
    completion_tokens: int,
    *,
    hit: bool = False,
    batch: bool = False,
) -> Decimal:
    """Return the total of `charge`."""
    return charge(price, prompt_tokens, cached_tokens, completion_tokens, hit=hit, batch=batch).total


def worst_case(price: Price, prompt_tokens: int, max_completion_tokens: int, *, batch: bool = False) -> Decimal:
    """Return the most that a call can cost: nothing cached, every allowed token generated. Never below `charge`.

    Raises ValueError when a count is negative.
    """
    _check(prompt_tokens, max_completion_tokens)
    with localcontext(_EXACT):
        dearest = max(price.input, price.cached_input)
        most = prompt_tokens * dearest + max_completion_tokens * price.output
        return _round(most * price.batch if batch else most)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by tier, and by (tier, model id) of the models that are priced apart from a tier that serves them."""

    name: str
    tiers: Mapping[str, Price]
    apart: Mapping[tuple[str, str], Price]

    @property
    def version(self) -> str:
        """`NAME@` and 8 hex digits of its prices' hash: a changed price is another version."""
        by_place = {(tier, ""): price for tier, price in self.tiers.items()} | dict(self.apart)
        # as ratios: 0.10 and 0.1 are the same price
        prices = [
            [*place, *(getattr(price, field.name).as_integer_ratio() for field in fields(price))]
            for place, price in sorted(by_place.items())
        ]
        return f"{self.name}@{hashlib.sha256(json.dumps(prices).encode()).hexdigest()[:8]}"

    def contract(self, name: str, tiers: Mapping[str, Price]) -> PriceList:
        """The list with a contract's prices over it, which hold for whatever model serves the tier."""
        apart = {place: price for place, price in self.apart.items() if place[0] not in tiers}
        return PriceList(name, {**self.tiers, **tiers}, apart)


class PriceBook:
    """Every price list in force: the standard one, and the contracts' by name."""

    def __init__(self, standard: PriceList, contracts: Mapping[str, Mapping[str, Price]]) -> None:
        """contracts: name -> tier -> price; a tier left out has the standard price."""
        lists = (standard, *(standard.contract(name, tiers) for name, tiers in contracts.items()))
        self._standard = standard
        self._lists = {one.name: one for one in lists}
        self._versions = {one.name: one.version for one in lists}

    def price(self, list_name: str | None, tier: str | None, model_id: str | None = None) -> Price:
        """What `model_id`, serving as `tier`, costs. None: the standard list, no tier (free), no model's own price.

        A call that overflowed into another tier's pool pays the tier that it was promised.
        """
        one = self._of(list_name)
        if apart := one.apart.get((tier or "", model_id or "")):
            return apart
        return one.tiers.get(tier or "", FREE)  # a cached answer may be of a tier that is no longer offered

    def worst(self, list_name: str | None, tiers: Iterable[str]) -> list[Price]:
        """Every price that a call to one of these tiers may end at."""
        one, wanted = self._of(list_name), set(tiers)
        apart = [price for (tier, _), price in one.apart.items() if tier in wanted]
        return [price for tier, price in one.tiers.items() if tier in wanted] + apart

    def version(self, list_name: str | None) -> str:
        """What a usage row says: the list, by its prices. A list that is gone from the config is named too."""
        standard = self._versions[self._standard.name]
        return self._versions.get(list_name, f"{standard} instead of {list_name}") if list_name else standard

    def _of(self, list_name: str | None) -> PriceList:
        return self._lists.get(list_name or "", self._standard)


def _round(millions: Decimal) -> Decimal:
    return (millions / _PER).quantize(NANO)


def _check(*counts: int) -> None:
    if min(counts) < 0:
        msg = f"token counts are never negative, got {counts}"
        raise ValueError(msg)
