"""What texts are read by in more than one place: letters that pass for others, and the check digit of cards."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from app.core.look_alikes import ALPHABETS

LOOK_ALIKES: Mapping[int, str] = {
    ord(theirs): ours for alphabet in ALPHABETS.values() for theirs, ours in zip(*alphabet, strict=True)
}
"""Every letter that passes for a Latin one, and that one: as str.translate takes them."""


def look_alikes(letters: str) -> dict[int, str]:
    """Of LOOK_ALIKES these letters alone: for what was measured, or trained, on no others."""
    return {ord(letter): LOOK_ALIKES[ord(letter)] for letter in letters}


def luhn(text: str) -> bool:
    """Whether the text's digits 0-9 pass the check that cards do."""
    digits = [int(char) for char in text if char in "0123456789"][::-1]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in islice(digits, 1, None, 2))
    return (sum(digits[::2]) + doubled) % 10 == 0
