"""What of the found personal data is hidden: a tenant's own lists, and the same text wherever it stands.

scrubber -> [spans] -> vault. Pure; spans are sorted and never overlap, as ports.Scrubber returns them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from app.core.ports import Span

DENIED = "CUSTOM"
"""The type of what a tenant's deny list names."""
MOST = 50_000_000
"""Characters compared when a call's originals are looked for again: tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """types: None is all. threshold: least score. allow, deny: texts, in any case; what both name is hidden."""

    types: frozenset[str] | None = None
    threshold: float = 0.5
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()


def chosen(texts: Sequence[str], found: Sequence[Sequence[Span]], wanted: Wanted) -> list[list[Span]]:
    """The spans of each text that are hidden."""
    allowed = frozenset(_plain(text) for text in wanted.allow)
    kept = [
        merged([*(span for span in spans if _passes(text, span, wanted, allowed)), *denied(text, wanted.deny)])
        for text, spans in zip(texts, found, strict=True)
    ]
    return spread(texts, kept)


def denied(text: str, deny: frozenset[str]) -> Iterator[Span]:
    """Where a denied text stands, as whole words."""
    if deny:
        for match in _pattern(deny).finditer(text):
            yield Span(match.start(), match.end(), DENIED, 1.0)


def spread(texts: Sequence[str], kept: list[list[Span]]) -> list[list[Span]]:
    """The same originals in every text: what was seen in one turn is not shown in another, where it was overlooked.

    Only those of several words or with digits or an `@`: one word alone may be a name here and none there.
    """
    known = {text[s.start : s.end]: s.type for text, spans in zip(texts, kept, strict=True) for s in spans}
    telling = {original: kind for original, kind in known.items() if re.search(r"\S\s+\S|\d|@", original)}
    if not telling or len(telling) * sum(map(len, texts)) > MOST:
        return kept
    more = [[span for original, kind in telling.items() for span in _where(text, original, kind)] for text in texts]
    return [merged([*new, *spans]) if new else spans for new, spans in zip(more, kept, strict=True)]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Sorted; those that overlap as one, with the type of the longest."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not out or span.start >= out[-1].end:
            out.append(span)
            continue
        last = out[-1]
        longer = span if span.end - span.start > last.end - last.start else last
        out[-1] = replace(longer, start=last.start, end=max(last.end, span.end))
    return out


def _where(text: str, original: str, kind: str) -> Iterator[Span]:
    at = text.find(original)
    while at >= 0:
        end = at + len(original)
        if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
            yield Span(at, end, kind, 1.0)
        at = text.find(original, end)


def _passes(text: str, span: Span, wanted: Wanted, allowed: frozenset[str]) -> bool:
    if span.score < wanted.threshold or (wanted.types is not None and span.type not in wanted.types):
        return False
    return not allowed or _plain(text[span.start : span.end]) not in allowed


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


@lru_cache(256)
def _pattern(deny: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(deny, key=lambda text: (-len(text), text))
    either = "|".join(r"\s+".join(map(re.escape, text.split())) for text in longest_first)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
