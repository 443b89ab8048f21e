"""See through what hides personal data from patterns: zero-width signs, fullwidth digits, letters that look alike.

PresidioScrubber -> [plain] -> recognizers. A recognizer reads the plain text; its spans are led back to the caller's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from app.core.text import LOOK_ALIKES

UNSEEN = frozenset("\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\u034f\u061c")
DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
LETTERS = re.compile(r"[^\W\d_]+(?:[.'-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Plain:
    """A text to look for patterns in. places: of each of its characters the place in the original; None: the same."""

    text: str
    places: list[int] | None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """[start, end) in the original's characters."""
        if self.places is None or start >= end:
            return start, end
        return self.places[start], self.places[end - 1] + 1


def plain(text: str) -> Plain:
    """The text with nothing unseen in it; digits, dashes, spaces and fullwidth letters in ASCII. Never fails."""
    if text.isascii():
        return Plain(text, None)
    signs, places = [], []
    for place, sign in _signs(text):
        signs.append(sign)
        places.append(place)
    return Plain(LETTERS.sub(_unmixed, "".join(signs)), None if len(places) == len(text) else places)


def _signs(text: str) -> Iterator[tuple[int, str]]:
    for place, sign in enumerate(text):
        if sign < "\x80":
            yield place, sign
        elif sign not in UNSEEN:
            yield place, _ascii(sign)


def _ascii(sign: str) -> str:
    """What stands for a sign: always one character."""
    if sign in DASHES:
        return "-"
    if sign.isspace():
        return " "
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    if "\ud800" <= sign <= "\udfff":
        return "\ufffd"
    if "\uff01" <= sign <= "\uff5e" or "\U0001d400" <= sign <= "\U0001d7ff":
        folded = unicodedata.normalize("NFKC", sign)
        return folded if len(folded) == 1 else sign
    return sign


def _unmixed(word: re.Match[str]) -> str:
    """A word of both ASCII letters and letters that only look like them, in ASCII. Other words are as they are."""
    found = word[0]
    if found.isascii() or not any(c < "\x80" and c.isalpha() for c in found):
        return found
    return found.translate(LOOK_ALIKES)
