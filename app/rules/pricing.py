"""What a call costs: exact decimal arithmetic, no I/O.

admit reserves `worst_case`, settle bills `cost`; both are whole multiples of 1e-9 of the price list's currency,
so that the ledger can hold money as integers and every sum is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

NANO = Decimal("1e-9")
_PER = Decimal(1_000_000)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)  # wide enough that only the last step rounds


@dataclass(frozen=True, slots=True)
class Price:
    """Prices per 1,000,000 tokens. hit: the share of input + output price that a semantic-cache hit costs, 0..1."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    hit: Decimal = Decimal("0.1")

    def __post_init__(self) -> None:
        """Raise ValueError for a price that is negative or no number, or a share above 1."""
        for name in ("input", "cached_input", "output", "hit"):
            value: Decimal = getattr(self, name)
            if not value.is_finite() or value < 0:
                msg = f"price.{name} is {value}: write a number of at least 0"
                raise ValueError(msg)
        if self.hit > 1:
            msg = f"price.hit is {self.hit}: a hit never costs more than a generation, write 0 to 1"
            raise ValueError(msg)


def cost(price: Price, prompt_tokens: int, cached_tokens: int, completion_tokens: int, *, hit: bool = False) -> Decimal:
    """Return what a call costs, rounded half to even at 1e-9.

    cached_tokens: the part of prompt_tokens that the engine's prefix cache served, at the cached price; more than
    the prompt counts as the whole prompt. hit: a semantic-cache hit, at `price.hit` of the full price.
    Raises ValueError when a count is negative.
    """
    _check(prompt_tokens, cached_tokens, completion_tokens)
    with localcontext(_EXACT):
        if hit:
            return _round((prompt_tokens * price.input + completion_tokens * price.output) * price.hit)
        cached = min(cached_tokens, prompt_tokens)
        read = (prompt_tokens - cached) * price.input + cached * price.cached_input
        return _round(read + completion_tokens * price.output)


def worst_case(price: Price, prompt_tokens: int, max_completion_tokens: int) -> Decimal:
    """Return the most that a call can cost: nothing cached, every allowed token generated. Never below `cost`.

    Raises ValueError when a count is negative.
    """
    _check(prompt_tokens, max_completion_tokens)
    with localcontext(_EXACT):
        dearest = max(price.input, price.cached_input)
        return _round(prompt_tokens * dearest + max_completion_tokens * price.output)


def _round(millions: Decimal) -> Decimal:
    return (millions / _PER).quantize(NANO)


def _check(*counts: int) -> None:
    if min(counts) < 0:
        msg = f"token counts are never negative, got {counts}"
        raise ValueError(msg)
