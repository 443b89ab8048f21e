"""What of a told usage is believed, and what of it a reservation pays: pure arithmetic.  metering -> [here]."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from app.billing.pricing import Price, charge
from app.core.events import Usage

MAX_BYTES_A_TOKEN = 32
"""No text has fewer tokens than its bytes by this: English has 4 to 5 bytes a token, runs of blanks the most."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Tokens that a call certainly read, and at most can have read and written. 0: no upper bound is known."""

    least_prompt: int = 1
    most_prompt: int = 0
    most_completion: int = 0

    def believed(self, told: Usage, own_prompt: int, least_completion: int) -> Usage:
        """The usage with every count inside of its bounds. own_prompt: our count, where none was told.

        least_completion: tokens that the text which came has at least.
        """
        prompt = max(told.prompt if told.prompt > 0 else own_prompt, self.least_prompt)
        completion = max(told.completion, least_completion)
        prompt = min(prompt, self.most_prompt or prompt)
        completion = min(completion, self.most_completion or completion)
        ours = told.prompt <= 0 or prompt > told.prompt or completion > max(0, told.completion)
        return Usage(
            prompt,
            completion,
            min(max(0, told.cached), prompt),
            min(max(0, told.reasoning), completion),
            estimated=told.estimated or ours,
        )


def affordable(usage: Usage, price: Price, reserved: Decimal, *, batch: bool = False) -> Usage:
    """The usage, its prompt cut down to what the reservation pays. Never dearer than `reserved`."""
    if _cost(usage, price, batch=batch) <= reserved:
        return usage
    low, high = 0, usage.prompt  # the cost never falls as the prompt grows
    while low < high:
        middle = (low + high + 1) // 2
        if _cost(_of(usage, middle), price, batch=batch) <= reserved:
            low = middle
        else:
            high = middle - 1
    return _of(usage, low)


def closest(pieces: int, counted: int) -> int:
    """How many tokens a text has that came in so many pieces, where our tokenizer counts so many.

    Most servers send a token a piece: that holds, unless our count is far from it.
    """
    if not counted:
        return pieces
    return pieces if counted <= 2 * pieces and pieces <= 2 * counted else counted


def _of(usage: Usage, prompt: int) -> Usage:
    return replace(usage, prompt=prompt, cached=min(usage.cached, prompt))


def _cost(usage: Usage, price: Price, *, batch: bool) -> Decimal:
    return charge(price, usage.prompt, usage.cached, usage.completion, batch=batch).total
