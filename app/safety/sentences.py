"""The new sentences of an answer, each to be judged by itself.  windows -> [sentences] -> the moderator.

Pure and linear. A window dilutes: of an insult behind two polite sentences it sees a third. By itself it is as clear as
it would be alone.
"""

from __future__ import annotations

import re
from itertools import pairwise

LONGEST = 160
"""Characters of a sentence that is judged whole; of a longer one each such stretch, half over the one before."""
SHORTEST = 4
"""Fewer characters are no sentence: the window has them."""
WORDS = 4
"""Fewer words without an end are no sentence yet."""
_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f;]+[\"'\u201d\u2019)\]*_]*(?=\s|$)|\n+")
_CLAUSE = re.compile(r"[,:\u2014\u2013](?=\s)|\s-(?=\s)")
_BLANK = re.compile(r"\s")


def sentences(text: str, new: int) -> list[str]:
    """The sentences, whole or begun, that hold a character from `new` on, each at most LONGEST characters."""
    found, start = [], 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        if end > new and end > start:
            found += [*_stretches(text, start, end, new), *_clauses(text, start, end, new)]
        start = max(start, end)
    pieces = [piece for piece in dict.fromkeys(map(str.strip, found)) if len(piece) >= SHORTEST]
    return pieces[:-1] if pieces and _begun(pieces[-1]) else pieces


def _clauses(text: str, start: int, end: int, new: int) -> list[str]:
    """Those of a sentence with several, of so many words that they may be judged."""
    stops = [match.end() for match in _CLAUSE.finditer(text, start, end)]
    if not stops:
        return []
    parts = pairwise([start, *stops, end])
    return [text[one:other] for one, other in parts if other > new and text.count(" ", one, other) >= WORDS]


def _begun(piece: str) -> bool:
    """Whether too little of it is there to be judged by itself."""
    return piece.count(" ") < WORDS - 1 and not _END.search(piece)


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
