"""Whether a stored answer would have done in place of a fresh one.  remember -> [here].

Decides what the cache learns from a comparison. Where it errs it must err by calling two answers different: that
costs hits, the other mistake would break the promised error bound (app/cache/acceptance.py).
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from app.core.ports import Vector

PIECE, PIECES = 700, 8
"""Characters that an encoder reads at once, and so many such pieces of an answer: longer ones must be equal."""
_TOKEN = re.compile(
    r"<[A-Z][A-Z_]*(?:_\w+)?>|\d+(?:[.,:/]\d+)*%?|[^\W\d_]+(?:['\u2019-]\w+)*|[^\s\w.,;:!?\"'()*`\u2019]", re.IGNORECASE
)
"""Words, numbers, placeholders and signs that count; the marks between them do not."""
_NUMBER = re.compile(r"(?:(?<!\w)-)?\d+(?:[.,:/]\d+)*%?")
_LISTED = re.compile(r"^[ \t]*\d+[.)]\s+", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*(?:_\w+)?>")
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|neither|nor|cannot|without|false|incorrect|wrong|unable|impossible|\w+n['\u2019]t)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][\w'\u2019-]*")
_SIDES = {"yes": True, "true": True, "correct": True, "no": False, "false": False, "incorrect": False}
_UN = ("un", "in", "im", "il", "ir", "non", "dis", "a")
BRIEF = 60
"""Words up to which every name and every negation of an answer must agree; a longer one is worded too freely."""


def alike(fresh: str, stored: str) -> bool | None:
    """True: they say the same. False: they do not, or nothing can tell. None: what their vectors say decides."""
    a, b = _plain(fresh), _plain(stored)
    if a == b:
        return True
    if "```" in fresh or "```" in stored or max(len(fresh), len(stored)) > PIECE * PIECES:
        return False
    same = (
        _numbers(fresh) == _numbers(stored)
        and Counter(_PLACEHOLDER.findall(fresh)) == Counter(_PLACEHOLDER.findall(stored))
        and _side(a) == _side(b)
        and not _opposed(set(a.split()), set(b.split()))
    )
    if not same:
        return False
    brief = max(len(a.split()), len(b.split())) <= BRIEF
    return (
        None if not brief or (_named(fresh, b) and _named(stored, a) and _denies(fresh) == _denies(stored)) else False
    )


def pieces(text: str) -> list[str]:
    """The answer in parts that an encoder reads whole, none of them blank."""
    return [part for at in range(0, len(text), PIECE) if (part := text[at : at + PIECE]).strip()] or [" "]


def cosine(a: Vector, b: Vector) -> float:
    """Of two answers' pieces, float32 (n, dim) and (m, dim): the cosine of their means, -1..1."""
    one, other = a.mean(axis=0), b.mean(axis=0)
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else 0.0


def _plain(text: str) -> str:
    """Without what does not change an answer: case, blanks, emphasis, marks."""
    return " ".join(_TOKEN.findall(text.casefold()))


def _numbers(text: str) -> set[str]:
    return {number.rstrip(".,:/") for number in _NUMBER.findall(_LISTED.sub("", text))}


def _side(plain: str) -> bool | None:
    """Which side an answer takes with its first word, if that is a word that does."""
    return _SIDES.get(plain.split(" ", 1)[0])


def _named(text: str, other: str) -> bool:
    """Whether the other answer (plain) knows every name that stands in the text, other than at a sentence's start."""
    known = set(other.split())
    return all(name.casefold() in known for name in _NAME.findall(text))


def _opposed(one: set[str], other: set[str]) -> bool:
    """Whether one answer has a word that the other has with a negating prefix: safe and unsafe."""
    only, rest = one - other, other - one
    return any(
        prefix + word in theirs for ours, theirs in ((only, rest), (rest, only)) for word in ours for prefix in _UN
    )


def _denies(text: str) -> bool:
    return len(_NEGATION.findall(text)) % 2 == 1
