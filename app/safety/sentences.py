"""The new sentences of an answer, each to be judged by itself.  windows -> [sentences] -> the moderator.

Pure and linear. A window dilutes: of an insult behind two polite sentences it sees a third. By itself it is as clear as
it would be alone.
"""

from __future__ import annotations

import re

LONGEST = 160
"""Characters of a sentence that is judged whole; of a longer one each such stretch, half over the one before."""
SHORTEST = 4
"""Fewer characters are no sentence: the window has them."""
_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f;]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|\n+")
_BLANK = re.compile(r"\s")


def sentences(text: str, new: int) -> list[str]:
    """The sentences, whole or begun, that hold a character from `new` on, each at most LONGEST characters."""
    found, start = [], 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        if end > new and end > start:
            found += _stretches(text, start, end, new)
        start = max(start, end)
    return [piece for piece in dict.fromkeys(map(str.strip, found)) if len(piece) >= SHORTEST]


def _stretches(text: str, start: int, end: int, new: int) -> list[str]:
    """A long one in pieces, the last one ending with it; only those that hold something new."""
    if end - start <= LONGEST:
        return [text[start:end]]
    ends = [*range(start + LONGEST, end, LONGEST // 2), end]
    return [text[_word(text, start, stop - LONGEST) : stop] for stop in ends if stop > new]


def _word(text: str, start: int, at: int) -> int:
    """The next word's first character: half a word reads as another."""
    if at <= start:
        return start
    blank = _BLANK.search(text, at, at + LONGEST // 4)
    return blank.end() if blank else at
