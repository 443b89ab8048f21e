"""Cost of goods: what a call costs us, whatever it is billed at. Exact fractions, no I/O.

settle writes it beside the charge, so that every report knows its margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

_HOUR = 3600
_PER = 1_000_000
_NANO = 10**9


@dataclass(frozen=True, slots=True)
class CostModel:
    """What one token of a pool costs us, in currency units: a share of an hour is seldom a finite decimal."""

    input: Fraction
    cached_input: Fraction
    output: Fraction

    @classmethod
    def hosted(
        cls,
        gpu_hour: Decimal,
        input_tokens_per_second: Decimal,
        output_tokens_per_second: Decimal,
        gpus: Decimal = Decimal(1),
    ) -> CostModel:
        """A replica of ours. Rates: what it reads, or writes, for all its calls together when it does nothing else.

        What its prefix cache serves takes it no time.
        """
        second = Fraction(gpu_hour) * Fraction(gpus) / _HOUR
        return cls(second / Fraction(input_tokens_per_second), Fraction(0), second / Fraction(output_tokens_per_second))

    @classmethod
    def bought(cls, input: Decimal, cached_input: Decimal, output: Decimal) -> CostModel:  # noqa: A002 - as configured
        """An upstream, at its prices for 1,000,000 tokens."""
        return cls(Fraction(input) / _PER, Fraction(cached_input) / _PER, Fraction(output) / _PER)


def cost_of_goods(model: CostModel | None, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> Decimal:
    """Return what a call costs us, rounded once, half to even at 1e-9. None: a pool that costs nothing, or a hit.

    cached_tokens: as in `pricing.charge`. Raises ValueError when a count is negative.
    """
    if min(prompt_tokens, cached_tokens, completion_tokens) < 0:
        msg = f"token counts are never negative, got {(prompt_tokens, cached_tokens, completion_tokens)}"
        raise ValueError(msg)
    if model is None:
        return Decimal(0).scaleb(-9)
    cached = min(cached_tokens, prompt_tokens)
    exact = (prompt_tokens - cached) * model.input + cached * model.cached_input + completion_tokens * model.output
    return Decimal(round(exact * _NANO)).scaleb(-9)
